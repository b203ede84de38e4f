# Shared by up and down: where the local processes of `make up` have their files, and which of them run. To be sourced after lib.sh.

# place cluster|one|secured — the demos keep apart: each finds its own data again.
place() {
    case $1 in
        cluster) run=$repository/.ottla/cluster/run data=$repository/.ottla/cluster/data ;;
        secured) run=$repository/.ottla/secured/run data=$repository/.ottla/secured/data secrets=$repository/.ottla/secured/secrets ;;
        one) run=$repository/.ottla/run data=$repository/.ottla/data ;;
    esac
}

# pid_of NAME — the process that was started from here under this name, if it still runs. The pid file may be older than the
# last boot: what has nothing of ours on its command line is somebody else's.
pid_of() {
    local pid; pid=$(cat "$run/$1.pid" 2> /dev/null) || return 1
    [ -n "$pid" ] && grep -qF "$run/" "/proc/$pid/cmdline" 2> /dev/null && echo "$pid"
}
alive() { pid_of "$1" > /dev/null; }
