# SPDX-License-Identifier: Apache-2.0
"""A service for tests of process managers: does what its options say, needs the standard library only.

Run as ``python -I -S service_program.py OPTIONS``, so that it starts in milliseconds.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from types import FrameType


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options; ``--`` ends them, what follows is only reported."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--report", help="write argv, environment and namespace to this file as JSON")
    parser.add_argument("--notify", action="store_true", help="send READY=1")
    parser.add_argument("--fail", action="store_true", help="send READY=1 with words of failure, and end")
    parser.add_argument("--ready", help="make this file just before READY=1 is sent")
    parser.add_argument("--slow", type=float, default=0.0, help="seconds before it is ready")
    parser.add_argument("--exit", type=int, help="print a line and end with this status at once")
    parser.add_argument("--signals", help="append a line to this file for each SIGUSR2")
    parser.add_argument("--ignore-term", action="store_true", help="only SIGKILL ends it")
    parser.add_argument(
        "--children", help="start two children that ignore SIGTERM, one of them in its own session"
    )
    parser.add_argument("--daemon", help="go into the background and write the id to this file")
    parser.add_argument("rest", nargs="*")
    return parser.parse_args(arguments)


def report(path: str, rest: list[str]) -> None:
    """Write what can only be seen from inside."""
    document = {
        "pid": os.getpid(),
        "arguments": rest,
        "environment": dict(os.environ),
        "namespace": os.stat("/proc/self/ns/net").st_ino,
        "descriptors": sorted(int(name) for name in os.listdir("/proc/self/fd")),
        "directory": os.getcwd(),
    }
    with open(path + ".new", "w", encoding="utf-8") as stream:
        json.dump(document, stream)
    os.rename(path + ".new", path)


def count_signals(path: str) -> Callable[[int, FrameType | None], None]:
    """Return a handler that appends a line per signal."""

    def handler(number: int, _: FrameType | None) -> None:
        with open(path, "a", encoding="ascii") as stream:
            stream.write(f"{number}\n")

    return handler


def start_children(path: str) -> None:
    """Start a child, and one that leads a session of its own; write their ids."""
    ids = []
    for leads in (False, True):
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            if leads:
                os.setsid()
            wait_for_ever()
        ids.append(pid)
    with open(path, "w", encoding="ascii") as stream:
        stream.write(" ".join(str(pid) for pid in ids))


def become_daemon(path: str) -> None:
    """Leave the caller's session and let the first process end."""
    pid = os.fork()
    if pid:
        with open(path, "w", encoding="ascii") as stream:
            stream.write(f"{pid}\n")
        os._exit(0)
    os.setsid()


def notify_ready(status: str) -> None:
    """Send READY=1 as sd_notify(3) does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(f"READY=1\nSTATUS={status}\n".encode(), os.environ["NOTIFY_SOCKET"])


def wait_for_ever() -> None:
    """Sleep; signals are handled in between."""
    while True:
        time.sleep(3600)


def main(arguments: list[str]) -> None:
    """Do what the options say, then wait."""
    options = parse(arguments)
    if options.exit is not None:
        print("this service ends at once")
        sys.exit(options.exit)
    if options.signals:
        signal.signal(signal.SIGUSR2, count_signals(options.signals))
    if options.ignore_term:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if options.daemon:
        become_daemon(options.daemon)
    if options.children:
        start_children(options.children)
    if options.report:
        report(options.report, options.rest)
    time.sleep(options.slow)
    if options.ready:
        open(options.ready, "x").close()
    if options.notify:
        notify_ready("Reload failed!" if options.fail else "serving")
    if options.fail:
        sys.exit(1)
    wait_for_ever()


if __name__ == "__main__":
    main(sys.argv[1:])
