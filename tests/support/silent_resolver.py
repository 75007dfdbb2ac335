# SPDX-License-Identifier: Apache-2.0
"""A machine whose own name only name servers know, and a name server that never answers."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from pathlib import Path

from amphora.system.namespaces import call_inside

#: On loopback, so that each namespace has one of its own; the usual one may be taken.
ADDRESS = "127.0.53.53"

#: Replace the machine's own files for one process and its children, then become a command.
_BIND = """
for name in hosts nsswitch.conf resolv.conf; do
    mount --bind "$1/$name" "/etc/$name"
done
shift
exec "$@"
"""


class SilentResolver:
    """Takes the questions of a namespace and answers none.

    :param directory: for the files that stand in for those in ``/etc``.
    """

    def __init__(self, namespace: str, directory: Path) -> None:
        self._namespace = namespace
        self._directory = directory
        (directory / "hosts").write_text("127.0.0.1 localhost\n")
        (directory / "nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files dns\n")
        (directory / "resolv.conf").write_text(f"nameserver {ADDRESS}\n")
        self._socket = call_inside(namespace, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self._socket.bind((ADDRESS, 53))
        self._socket.settimeout(5)

    def command(self, *argv: str) -> list[str]:
        """Return a command that runs another where this resolver is the only one."""
        private = ("unshare", "--mount", "--propagation", "private")
        return [*private, "sh", "-euc", _BIND, "sh", str(self._directory), *argv]

    def is_asked_for_the_own_name(self) -> bool:
        """Whether a lookup of the machine's name comes here and nowhere else."""
        inside = ("ip", "netns", "exec", self._namespace)
        looker = subprocess.Popen(self.command(*inside, "getent", "ahosts", socket.gethostname()))
        try:
            return socket.gethostname().encode() in self._socket.recv(512)
        finally:
            looker.kill()
            looker.wait(5)
            self.questions()

    def questions(self) -> list[bytes]:
        """Return the questions since the last call, as they came."""
        found = []
        self._socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                found.append(self._socket.recv(512))
        self._socket.settimeout(5)
        return found

    def close(self) -> None:
        self._socket.close()
