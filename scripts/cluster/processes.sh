# Sourced: processes that outlive the script that started them; command, log and identity of each are in the folder $D.
# A process is known by its id and the moment it started, so that another one is never stopped in its place.

started_at() { # PID: clock ticks since boot; nothing where there is no such process
    local stat
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 0
    set -- ${stat##*) }
    [ "$1" = Z ] || echo "${20}"
}

process_of() { # NAME: its id, as long as it runs
    local pid ticks
    { read -r pid ticks <"$D/$1.pid"; } 2>/dev/null || return 1
    [ -n "$ticks" ] && [ "$(started_at "$pid")" = "$ticks" ] && echo "$pid"
}

launch() { # NAME COMMAND...
    local name=$1
    shift
    { printf 'exec'; printf ' %q' "$@"; } >"$D/$name.command"
    start "$name"
}

start() { # NAME, launched before
    process_of "$1" >/dev/null && return
    setsid bash "$D/$1.command" </dev/null >>"$D/$1.log" 2>&1 &
    echo "$! $(started_at $!)" >"$D/$1.pid"
    disown
}

stop() { # NAME: at once; returns when it has ended
    local pid
    if pid=$(process_of "$1") && [ "$pid" != $$ ]; then
        kill -KILL -- "-$pid" "$pid" 2>/dev/null || true # its group has its children
        while process_of "$1" >/dev/null; do sleep 0.02; done
    fi
    rm -f "$D/$1.pid"
}

down_with() { # PID SCRIPT: let `SCRIPT down $D` run when that process has ended, however it ended
    launch owner bash -c 'tail --pid="$1" -f /dev/null; exec bash "$2" down "$3"' - "$1" "$2" "$D"
}

wait_until() { # SECONDS WHAT COMMAND...: tries some times a second; if it never succeeds, shows how the logs end
    local until=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        if [ $SECONDS -ge "$until" ] || ! all_run; then
            tail -n 5 "$D"/*.log >&2
            echo "Gave up waiting until $what. The logs are in $D." >&2
            return 1
        fi
        sleep 0.1
    done
}

all_run() { # what was started and not stopped
    for file in "$D"/*.pid; do
        process_of "$(basename "$file" .pid)" >/dev/null || return
    done
}
