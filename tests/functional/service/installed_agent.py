# SPDX-License-Identifier: Apache-2.0
"""The agent as its package installs it, configured as by a controller. Inside a machine."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from amphora.system.mounts import outside_memory
from amphora.testing.agent_client import AMPHORA_ID, AgentClient
from amphora.testing.pki import Pki

REPOSITORY = Path(__file__).resolve().parents[3]
PORT = 9443
CONFIG = Path("/etc/octavia/amphora-agent.conf")
UNIT = Path("/etc/systemd/system/amphora-agent.service")
CERTIFICATES = Path("/var/lib/octavia/certs")

T = TypeVar("T")


def run(*argv: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Run a command; output and errors together."""
    return subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )


def must(*argv: str) -> str:
    """Run a command that has to succeed; return what it printed."""
    done = run(*argv)
    assert done.returncode == 0, f"{argv}: {done.returncode}\n{done.stdout}"
    return done.stdout.strip()


def wait_until(condition: Callable[[], T], what: str, seconds: float = 60) -> T:
    """Return the first true result of a condition."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen in {seconds} s"
        time.sleep(0.02)
    return result


def property_of(unit: str, key: str) -> str:
    """One property of a unit as systemctl(1) shows it."""
    return must("systemctl", "show", "--value", "-p", key, unit)


def agent_pid() -> int:
    """Main process of the agent's unit, 0 when there is none."""
    return int(property_of("amphora-agent.service", "MainPID"))


class InstalledAgent:
    """Files of one agent on this machine."""

    def __init__(self) -> None:
        for path in (CONFIG.parent / "certs", CERTIFICATES):
            path.mkdir(parents=True, exist_ok=True)
        if outside_memory(CERTIFICATES):
            must("mount", "-t", "tmpfs", "tmpfs", str(CERTIFICATES))
        link = Path("/usr/local/bin/amphora-agent")
        link.unlink(missing_ok=True)
        link.symlink_to(Path(sys.executable).with_name("amphora-agent"))
        pki = Pki(CONFIG.parent / "certs")
        pki.server("127.0.0.1").path.rename(CONFIG.parent / "certs/server.pem")
        pki.ca_path.rename(CONFIG.parent / "certs/client_ca.pem")
        pki.ca_path = CONFIG.parent / "certs/client_ca.pem"
        self.pki = pki
        self.client = AgentClient("127.0.0.1", PORT, pki.client_context(pki.client("controller")))
        self.configure()

    def configure(self, **drivers: str) -> None:
        """Write the configuration file; only drivers differ from what a controller writes."""
        chosen = "".join(f"{family} = {name}\n" for family, name in drivers.items())
        CONFIG.write_text(f"\n[amphora_agent]\namphora_id = {AMPHORA_ID}\n[drivers]\n{chosen}")

    def serves(self) -> bool:
        """Whether it answers now."""
        try:
            return self.client.call("GET", "/info", timeout=5).status == 200
        except OSError:
            return False
