# Shared by up, down and test: is there an engine, and how is compose spelt here? To be sourced after lib.sh.

engine_answers() { has docker && timeout 10 docker version -f '{{.Server.Version}}' > /dev/null 2>&1; }
has_compose() { docker compose version > /dev/null 2>&1 || has docker-compose; }
# The cluster; `compose_file=$repository/docker-compose.one.yml` makes it the single broker.
compose_file=$repository/docker-compose.yml
compose() {
    if docker compose version > /dev/null 2>&1; then docker compose --project-directory "$repository" -f "$compose_file" "$@"
    else docker-compose --project-directory "$repository" -f "$compose_file" "$@"; fi
}

image_is_here() { docker image inspect "$1" > /dev/null 2>&1; }
# can_pull IMAGE — is there a registry that has it? Found out in seconds, which a pull that cannot succeed takes minutes for.
# An engine with mirrors may have it from them.
can_pull() {
    [ "$(docker info -f '{{len .RegistryConfig.Mirrors}}' 2> /dev/null || echo 0)" != 0 ] || timeout "${OTTLA_REGISTRY_SECONDS:-10}" docker manifest inspect "$1" > /dev/null 2>&1
}
