# SPDX-License-Identifier: Apache-2.0
"""A real agent as a process of its own, for tests and demonstrations of what it does from outside."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from amphora.testing.agent_client import AMPHORA_ID, AgentClient
from amphora.testing.pki import Pki

Options = Mapping[str, Mapping[str, object]]


class AgentDied(RuntimeError):
    """The agent ended when it should have become ready; the message holds the end of its log."""


class AgentProcess(AgentClient):
    """One agent over one directory; it may be killed and started again over the same.

    :param directory: holds the PKI, the configuration, the log and all state. Its path must be short,
        because haproxy's sockets live below it, and it must lie on tmpfs unless ``options`` name
        another ``base_cert_dir``.
    :param options: group to option to value, on top of: drivers ``standalone`` and ``tmpfs``, no
        namespace, 127.0.0.1, a free port.
    :param command: what to run instead of the installed ``amphora-agent``.
    """

    def __init__(self, directory: Path, options: Options | None = None, command: Sequence[str] = ()) -> None:
        self.directory = directory
        self.pki = Pki(directory)
        self.client = self.pki.client("controller")
        super().__init__("127.0.0.1", free_port(), self.pki.client_context(self.client))
        self.base_path = directory / "lb"
        self.log_path = directory / "agent.log"
        self.config_path = directory / "amphora-agent.conf"
        self._server_certificate = self.pki.server("127.0.0.1").path
        self._command = list(command) or [str(Path(sys.executable).with_name("amphora-agent"))]
        self._process: subprocess.Popen[bytes] | None = None
        self.configure(options or {})

    def configure(self, options: Options) -> None:
        """Write the configuration file; a running agent reads it at SIGHUP or its next start."""
        groups: dict[str, dict[str, object]] = {
            "haproxy_amphora": {
                "base_path": self.base_path,
                "base_cert_dir": self.directory / "certs",
                "bind_host": "127.0.0.1",
                "bind_port": self.port,
                "haproxy_cmd": shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin"),
            },
            "amphora_agent": {
                "agent_server_ca": self.pki.ca_path,
                "agent_server_cert": self._server_certificate,
                "amphora_id": AMPHORA_ID,
            },
            "drivers": {"process_manager": "standalone"},
            "network": {"namespace": ""},
        }
        for group, values in options.items():
            groups.setdefault(group, {}).update(values)
        lines = []
        for group, values in groups.items():
            lines += [f"[{group}]", *(f"{name} = {value}" for name, value in values.items())]
        self.config_path.write_text("\n".join(lines) + "\n")

    @property
    def pid(self) -> int:
        """Process id of the agent."""
        assert self._process is not None, "not started"
        return self._process.pid

    def start(self, timeout: float = 30.0) -> float:
        """Start the agent and return the seconds until it said that it is ready.

        :raises AgentDied: it ended instead, or did not get ready in time.
        """
        began = time.monotonic()
        path = self.directory / f"ready-{os.getpid()}"
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel, self.log_path.open("ab") as log:
            channel.bind(str(path))
            channel.settimeout(0.1)
            self._process = subprocess.Popen(
                [*self._command, "--config-file", str(self.config_path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | {"NOTIFY_SOCKET": str(path)},
                # Ctrl-C goes to the caller, which then ends the agent in order.
                start_new_session=True,
            )
            while self._process.poll() is None and time.monotonic() - began < timeout:
                with contextlib.suppress(TimeoutError):
                    if b"READY=1" in channel.recv(4096):
                        return time.monotonic() - began
        self.kill()
        raise AgentDied(f"the agent did not get ready; its log ends with:\n{self.log_tail()}")

    def stop(self, timeout: float = 60.0) -> int:
        """End the agent by SIGTERM and return its exit status. haproxy processes go on."""
        assert self._process is not None, "not started"
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout)

    def kill(self) -> None:
        """End the agent by SIGKILL. haproxy processes go on."""
        assert self._process is not None, "not started"
        self._process.kill()
        self._process.wait(30)

    def wait(self, timeout: float = 60.0) -> int:
        """Wait until the agent has ended by itself and return its exit status."""
        assert self._process is not None, "not started"
        return self._process.wait(timeout)

    def is_running(self) -> bool:
        """Whether the agent was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def clean_up(self) -> None:
        """Delete every listener, so that no haproxy is left, and end the agent."""
        if not self.is_running():
            self.start()
        for listener in self.call("GET", "/v0.1/listeners").json:
            self.call("DELETE", f"/v0.1/listeners/{listener['uuid']}")
        self.stop()

    def log_tail(self, lines: int = 20) -> str:
        """Return the end of the agent's log."""
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that is free at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
