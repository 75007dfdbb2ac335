# SPDX-License-Identifier: Apache-2.0
"""The server as a process of its own, and what can be seen of it from outside."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from amphora.testing.pki import Credential, Pki

SCRIPT = Path(__file__).with_name("serve.py")
ROOT = Path(__file__).parents[3]


class ServerProcess:
    """One server process; ``source`` of a client is any loopback address."""

    def __init__(self, pki: Pki, log: Path, **settings: Any) -> None:
        self.pki = pki
        self.certificate = pki.server(key="rsa")
        self.context = pki.client_context(pki.client("controller", key="rsa"))
        arguments = [str(self.certificate.path), str(pki.ca_path), json.dumps(settings)]
        with log.open("wb") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, str(SCRIPT), *arguments],
                stdout=subprocess.PIPE,
                stderr=stderr,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        assert self._process.stdout is not None
        self.address = ("127.0.0.1", int(self._process.stdout.readline()))
        self.log = log

    @property
    def pid(self) -> int:
        return self._process.pid

    def client(self, source: str = "127.0.0.1") -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(
            *self.address, timeout=10, context=self.context, source_address=(source, 0)
        )

    def get(self, path: str = "/", source: str = "127.0.0.1") -> float:
        """GET over a new connection; return how many seconds it took."""
        started = time.monotonic()
        with contextlib.closing(self.client(source)) as client:
            client.request("GET", path)
            response = client.getresponse()
            response.read()
            assert response.status == 200
        return time.monotonic() - started

    @contextlib.contextmanager
    def strangers(self, count: int, first: bytes = b"") -> Iterator[list[socket.socket]]:
        """Open connections, each of which says ``first`` and nothing more; closed in the end."""
        with contextlib.ExitStack() as stack:
            opened = []
            for _ in range(count):
                opened.append(stack.enter_context(socket.create_connection(self.address, timeout=10)))
                opened[-1].sendall(first)
            yield opened

    @contextlib.contextmanager
    def controllers(self, count: int) -> Iterator[list[http.client.HTTPSConnection]]:
        """Open authenticated connections that have had one answer each; closed in the end."""
        with contextlib.ExitStack() as stack:
            opened = []
            for _ in range(count):
                opened.append(stack.enter_context(contextlib.closing(self.client())))
                opened[-1].request("GET", "/")
                opened[-1].getresponse().read()
            yield opened

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def memory(self) -> float:
        """Proportional set size, in MB of 10**6 bytes."""
        rollup = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        return int(rollup.partition("\nPss:")[2].split()[0]) * 1024 / 1e6

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def context_switches(self) -> int:
        status = Path(f"/proc/{self.pid}/status").read_text()
        return sum(int(line.split()[1]) for line in status.splitlines() if "ctxt_switches" in line)

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        return self._process.wait(timeout=30)

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


StartServer = Callable[..., ServerProcess]


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    pki = Pki(tmp_path, key="rsa")
    started: list[ServerProcess] = []

    def start(**settings: Any) -> ServerProcess:
        log = tmp_path / f"server-{len(started)}.log"
        started.append(ServerProcess(pki, log, **{"host": "127.0.0.1", "port": 0, **settings}))
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture
def renew_certificate() -> Callable[[ServerProcess], Credential]:
    """Write a new certificate over the server's own, atomically, as the agent does."""

    def renew(server: ServerProcess) -> Credential:
        renewed = server.pki.server(file_name="renewed.pem", key="rsa")
        renewed.path.rename(server.certificate.path)
        return renewed

    return renew
