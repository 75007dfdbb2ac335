# SPDX-License-Identifier: Apache-2.0
"""An agent in an amphora to which a hypervisor has attached links; what the kernel holds afterwards."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

from amphora.testing.agent import AgentProcess
from tests.support.load_balancers import MAC, OTHER_MAC
from tests.support.turns import Turn


def ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, timeout=10, capture_output=True, text=True).stdout


class AttachedAmphora:
    """An agent, its data namespace, and links that a hypervisor has attached."""

    def __init__(self, directory: Path, topology: str, more: dict[str, dict[str, Any]] | None = None) -> None:
        self._turn = Turn("links")
        self.data = f"amp-ports-{os.getpid()}"
        self.links = [f"amp{os.getpid() % 100000}{letter}" for letter in "abcd"]
        options: dict[str, dict[str, Any]] = {
            "network": {"namespace": self.data},
            "drivers": {"process_manager": "standalone", "network": "pyroute2"},
            "amphora_agent": {"agent_server_network_dir": directory / "interfaces"},
            "controller_worker": {"loadbalancer_topology": topology},
        }
        self.agent = AgentProcess(directory, options | (more or {}))
        try:
            for mac, link, peer in zip((MAC, OTHER_MAC), self.links[:2], self.links[2:], strict=True):
                ip("link", "add", link, "address", mac, "type", "veth", "peer", "name", peer)
                ip("link", "set", peer, "up")
            self.agent.start()
        except BaseException:
            self._turn.close()
            raise

    def post(self, path: str, parameters: dict[str, Any]) -> tuple[int, Any]:
        answer = self.agent.post(path, parameters)
        return answer.status, answer.json

    def addresses(self, name: str) -> set[str]:
        shown = ip("-n", self.data, "-o", "addr", "show", "dev", name).splitlines()
        return {line.split()[3] for line in shown}

    def routes(self, name: str, table: str = "main", family: str = "-4") -> set[str]:
        """Routes that are not the kernel's own, without what differs from kernel to kernel."""
        shown = ip("-n", self.data, family, "route", "show", "dev", name, "table", table)
        return {
            " ".join(line.split(" metric")[0].split(" pref")[0].split())
            for line in shown.splitlines()
            if "proto kernel" not in line
        }

    def rules(self, family: str = "-4") -> set[str]:
        shown = ip("-n", self.data, family, "rule", "show").splitlines()
        return {" ".join(line.split()[1:5]) for line in shown if "lookup 1 " in f"{line} "}

    def clean_up(self) -> None:
        self.agent.clean_up()
        subprocess.run(["ip", "netns", "del", self.data], timeout=10, capture_output=True)
        for link in self.links:
            subprocess.run(["ip", "link", "del", link], timeout=10, capture_output=True)
        self._turn.close()
