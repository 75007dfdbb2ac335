# SPDX-License-Identifier: Apache-2.0
"""Everything the demonstration needs around the agent, and its removal."""

from __future__ import annotations

import contextlib
import shutil
import signal
import tempfile
import urllib.request
from pathlib import Path
from typing import Any, Self

from amphora.testing.agent import AgentDied, AgentProcess, free_port
from amphora.testing.agent_client import AMPHORA_ID
from amphora.testing.member import Member

LISTENER = "7e9f91eb-b3e6-4e3b-a1a7-d6f7fdc1de7c"
_POOL = "399bbf4b-5f6c-4370-a61e-ed2ff2fc9387"
_MEMBERS = ("73f6d278-ae1c-4248-ad02-0bfd50d69aab", "2edca57c-5890-4bcb-ae67-4ef75776cc67")
_TIMEOUT = 60


class Stage:
    """A directory, a PKI, two members and an agent; all gone when the ``with`` block ends."""

    def __enter__(self) -> Self:
        # Keys in memory only, and a path short enough for haproxy's sockets.
        self.directory = Path(tempfile.mkdtemp(prefix="amphora-demo-", dir="/dev/shm"))
        self.agent = AgentProcess(self.directory)
        self.members = [Member("member-1"), Member("member-2")]
        self.listener_port = free_port()
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if self.agent.is_running():
            # The agent's end alone would leave haproxy serving.
            with contextlib.suppress(OSError):
                self.agent.clean_up()
        for member in self.members:
            member.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def start_agent(self) -> float:
        """Start the agent as an operator would and return the seconds until it is ready."""
        try:
            return self.agent.start()
        except AgentDied as error:
            raise SystemExit(str(error)) from error

    def upload(self) -> Any:
        """Upload the listener."""
        return self.call("PUT", f"/v0.1/listeners/{AMPHORA_ID}/{LISTENER}/haproxy", self._configuration())

    def call(self, method: str, path: str, body: bytes | None = None) -> Any:
        """Make one request to the agent over mutual TLS and return the JSON of its answer."""
        answer = self.agent.call(method, path, body)
        if answer.status >= 400:
            raise SystemExit(
                f"{method} {path} was answered {answer.status}: {answer.json}\n"
                f"The agent's log ends with:\n{self.agent.log_tail()}"
            )
        return answer.json

    def request(self) -> str:
        """Make one request through the load balancer and return the name of the member that answered."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.listener_port}/", timeout=_TIMEOUT) as response:
            return str(response.read().decode())

    def _configuration(self) -> bytes:
        servers = "\n".join(
            f"    server {member_id} 127.0.0.1:{member.port} check inter 1s"
            for member_id, member in zip(_MEMBERS, self.members, strict=True)
        )
        return f"""\
# Configuration for listener {LISTENER}
defaults
    mode http
    timeout connect 5s
    timeout client 50s
    timeout server 50s

frontend {LISTENER}
    bind 127.0.0.1:{self.listener_port}
    default_backend {_POOL}

backend {_POOL}
    balance roundrobin
{servers}
""".encode()
