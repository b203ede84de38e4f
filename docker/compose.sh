# Shared by up, down and test: is there an engine, and how is compose spelt here? To be sourced after lib.sh.

engine_answers() { has docker && timeout 10 docker version -f '{{.Server.Version}}' > /dev/null 2>&1; }
has_compose() { docker compose version > /dev/null 2>&1 || has docker-compose; }
compose() {
    if docker compose version > /dev/null 2>&1; then docker compose --project-directory "$repository" "$@"
    else docker-compose --project-directory "$repository" -f "$repository/docker-compose.yml" "$@"; fi
}
