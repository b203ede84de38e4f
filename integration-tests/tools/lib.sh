# Shared by the scripts of this repository: where things are, how to say what is happening, how to install a Debian package.
# To be sourced by bash; `set -euo pipefail` is the caller's.

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
tools=$repository/integration-tests/tools
# What is fetched once for all clones of this user: Kafka's stock tools, client libraries of other languages.
cache=${OTTLA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ottla}
kafka_version=3.9.1
# The last minor release whose administration tools take --zookeeper.
old_kafka_version=2.8.2
# Before the record batches of 0.11.
oldest_kafka_version=0.10.0.1
registry_version=3.0.9

say() { printf '%s: %s\n' "${0##*/}" "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }
has() { command -v "$1" > /dev/null 2>&1; }

# as_root COMMAND… — run it as root: directly, or with sudo where that asks no question or somebody is there to answer it.
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif has sudo && { sudo -n true 2> /dev/null || [ -t 0 ]; }; then sudo "$@"
    else die "needs to run '$*' as root, and there is no sudo to do it with; run it yourself, then try again"; fi
}

# install_packages WHY PACKAGE… — install the Debian packages; their absence is what the caller has found out already.
install_packages() {
    local why=$1; shift
    has apt-get || die "$why is missing, and this is not a Debian-like system; install what Debian calls: $*"
    say "installing $why ($*)"
    local log; log=$(mktemp)
    if ! { as_root apt-get update && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"; } > "$log" 2>&1; then
        tail -n 15 "$log" >&2; rm -f "$log"
        die "could not install $*: see apt-get's own words above"
    fi
    rm -f "$log"
}

# wait_until SECONDS WHAT COMMAND… — poll the command until it succeeds; say once what is waited for.
wait_until() {
    local seconds=$1 what=$2; shift 2
    local end=$((SECONDS + seconds))
    "$@" > /dev/null 2>&1 && return 0
    say "waiting for $what (up to $seconds s)"
    until "$@" > /dev/null 2>&1; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.2
    done
}
