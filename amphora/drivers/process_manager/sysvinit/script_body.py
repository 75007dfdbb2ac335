# SPDX-License-Identifier: Apache-2.0
"""The part of an init script that is the same for all services.

It uses what every Debian machine has (start-stop-daemon(8), flock(1), coreutils, grep, sed), and the
variables and functions that :mod:`amphora.drivers.process_manager.sysvinit.scripts` puts before it.
"""

from __future__ import annotations

from types import MappingProxyType

from amphora.models import Readiness

_NOTIFY = r"""
# Starts the service in the background and waits until it reports to be ready (sd_notify(3)).
launch() {
    start-stop-daemon --start --quiet --background --pidfile "$pid_file" --startas "$script" \
        --notify-await --notify-timeout "$start_seconds" -- run &
    waiter=$!
    while kill -s 0 "$waiter" 2> /dev/null; do
        # start-stop-daemon waits on although the service has ended.
        if [ -e "$pid_file" ] && ! is_running; then
            kill "$waiter" 2> /dev/null
            remove_socket "$(sed -n 3p "$pid_file")"
        fi
        sleep 0.05
    done
    wait "$waiter"
}

record_start() {
    record $$
}

remove_socket() {
    [ -n "$1" ] || return 0
    rm -f "$1"
    rmdir "${1%/*}" 2> /dev/null
}
"""

_AWAIT_FILE = r"""
await_file() {
    tries=$((start_seconds * 20))
    until [ -s "$1" ]; do
        [ "$tries" -gt 0 ] || return 1
        tries=$((tries - 1))
        sleep 0.05
    done
}
"""

_EXEC = r"""
# Starts the service in the background; it counts as ready when it outlives its first moment.
launch() {
    start-stop-daemon --start --quiet --background --pidfile "$pid_file" --startas "$script" -- run &&
        await_file "$pid_file" && sleep 0.2
}

record_start() {
    record $$
}
"""

_FORKING = r"""
# Starts the service, which goes into the background itself and then names its main process.
launch() {
    rm -f "$own_pid_file"
    timeout -k 1 "$start_seconds" \
        start-stop-daemon --start --quiet --pidfile "$pid_file" --startas "$script" -- run 9>&- || return 1
    await_file "$own_pid_file" || return 1
    pid=
    read -r pid < "$own_pid_file" || [ -n "$pid" ] || return 1
    record "$pid"
}

# The process that starts it is not the one to record.
record_start() {
    :
}
"""

#: How a service is started and waited for, by its kind of readiness.
LAUNCHES = MappingProxyType(
    {
        Readiness.NOTIFY: _NOTIFY,
        Readiness.EXEC: _AWAIT_FILE + _EXEC,
        Readiness.FORKING: _AWAIT_FILE + _FORKING,
    }
)

#: ``@LAUNCH@`` stands for one of these.
BODY = r"""
say() {
    printf '%s: %s\n' "$name" "$*"
}

# Prints when a live process was started, in clock ticks after boot (proc(5)).
start_ticks() {
    stat=$(cat "/proc/$1/stat" 2> /dev/null) || return 1
    # What stands in parentheses before is the name of its program, which may hold anything.
    # shellcheck disable=SC2086
    set -- ${stat##*) }
    case $1 in Z | X) return 1 ;; esac
    echo "${20}"
}

boot_id() {
    cat /proc/sys/kernel/random/boot_id
}

# Notes the main process, so that no other with its id, nor one of another boot, can be taken for it.
record() {
    ticks=$(start_ticks "$1") || return 1
    printf '%s\n%s %s\n%s\n' "$1" "$ticks" "$(boot_id)" "${NOTIFY_SOCKET-}" > "$pid_file.new" &&
        mv -f "$pid_file.new" "$pid_file"
}

is_running() {
    [ -r "$pid_file" ] || return 1
    pid='' ticks='' boot=''
    { read -r pid && read -r ticks boot; } < "$pid_file" || return 1
    [ "$boot" = "$(boot_id)" ] && [ "$(start_ticks "$pid")" = "$ticks" ]
}

# Prints the ids of all processes of the service; each has inherited the mark.
members() {
    grep -lzxsF -e "$mark" /proc/[0-9]*/environ | tr -dc '0-9\n'
}

end_members() {
    tries=30
    while pids=$(members) && [ -n "$pids" ]; do
        [ "$tries" -gt 0 ] || return 1
        tries=$((tries - 1))
        # shellcheck disable=SC2086
        kill -s KILL $pids 2> /dev/null
        sleep 0.1
    done
}
@LAUNCH@

# Becomes the service; it keeps the process id of this shell.
run() {
    umask 077
    exec >> "$log" 2>&1 < /dev/null
    umask 022
    cd /
    record_start
    # shellcheck disable=SC3045
    ulimit -n 1048576 2> /dev/null || ulimit -n "$(ulimit -H -n)"
    run_service
}

check() {
    timeout -k 1 "$start_seconds" "$script" check || {
        say "its check failed with status $?"
        return 6
    }
}

start() {
    if is_running; then
        say "is already running"
        return 0
    fi
    check || return
    end_members || return 1
    rm -f "$pid_file"
    if launch && is_running; then
        return 0
    fi
    say "failed to start; its output is in $log"
    stop
    return 1
}

stop() {
    if is_running; then
        start-stop-daemon --stop --quiet --oknodo --retry "TERM/$stop_seconds/KILL/3" --pidfile "$pid_file"
    fi
    end_members || {
        say "a process survived SIGKILL"
        return 1
    }
    rm -f "$pid_file" ${own_pid_file:+"$own_pid_file"}
}

# What a check refuses goes on running as it is.
restart() {
    check || return
    stop && start
}

reload() {
    is_running || {
        say "is not running"
        return 7
    }
    check || return
    start-stop-daemon --stop --quiet --signal "$reload_signal" --pidfile "$pid_file"
}

status() {
    if is_running; then
        say "is running as process $pid"
        return 0
    fi
    if [ -e "$pid_file" ]; then
        say "is dead, and $pid_file exists"
        return 1
    fi
    say "is stopped"
    return 3
}

try_restart() {
    is_running || return 0
    restart
}

# Changes come one at a time: the agent holds the same lock for its own.
begin_change() {
    [ "$(id -u)" -eq 0 ] || {
        say "this needs root"
        exit 4
    }
    exec 9> "$lock_file"
    flock -w "$((start_seconds + stop_seconds))" 9 || {
        say "timed out waiting for another change"
        exit 1
    }
}

case ${1-} in
    status) status ;;
    start) begin_change && start ;;
    stop) begin_change && stop ;;
    restart) begin_change && restart ;;
    try-restart) begin_change && try_restart ;;
    reload | force-reload) begin_change && reload ;;
    run) run ;;
    check) run_check ;;
    *)
        echo "Usage: $script {start|stop|restart|try-restart|reload|force-reload|status}" >&2
        exit 2
        ;;
esac
exit
"""
