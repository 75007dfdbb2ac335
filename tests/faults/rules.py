# SPDX-License-Identifier: Apache-2.0
"""Changes to the packet filter, and what may be in force after each."""

from __future__ import annotations

import json
import subprocess

from amphora.core.network.interface_rules import RULES, TARGET
from amphora.core.network.packet_filter import FAMILY, TABLE, fingerprint_of
from amphora.system.command import CommandRunner
from amphora.system.nftables import Nftables
from tests.faults.matrix import Kind
from tests.faults.scenario import Scenario

NOTHING = "nothing"
KINDS = tuple(
    Kind("packet filter", RULES, before, runs_before=False, runs_after=False) for before in ("", NOTHING)
)

A, B = "A", "B"
_PORTS = {A: 8081, B: 8082}
#: Of the interface that stands for the port of a VIP.
_ADDRESS = "198.51.100.11"


class RulesScenario(Scenario):
    """The one packet filter of the machine."""

    def __init__(self, rig, kind):
        old = None if kind.before == NOTHING else A
        # What cannot be taken back stays in force, and is gone after the next start.
        super().__init__(rig, kind, TARGET, [(old, old)], [(B, B)], halfway=[(old, B)])
        self._before = old
        self._file = rig.disk / "nftables-vip.rules"
        self._fingerprints = {}

    def prepare(self):
        for marker in _PORTS:
            assert self._put(marker).status == 200
            self._fingerprints[fingerprint_of(self._file.read_bytes())] = marker
        if self._before:
            assert self._put(self._before).status == 200
        else:
            self._forget()

    def change(self):
        return self._put(B)

    def state(self):
        """Return the versions that are stored and in force."""
        stored = self._file.read_bytes() if self._file.exists() else None
        return self._marker(stored), self._marker(
            Nftables(CommandRunner(), self.rig.namespace).content(FAMILY, TABLE)
        )

    def incomplete(self):
        return [path.name for path in self._file.parent.glob(f"{self._file.name}?*")]

    def clean(self):
        """Whatever is in force is replaced by the next cell."""

    def _forget(self):
        """Let there be none, as in an amphora that never had one."""
        self.agent.kill()
        self._file.unlink(missing_ok=True)
        command = ["ip", "netns", "exec", self.rig.namespace, "nft", "delete", "table", FAMILY, TABLE]
        subprocess.run(command, timeout=10, capture_output=True)
        self.agent.start()

    def _marker(self, content):
        found = [marker for print_, marker in self._fingerprints.items() if content and print_ in content]
        return found[0] if found else content

    def _put(self, marker):
        rules = [
            {"protocol": "TCP", "cidr": cidr, "port": _PORTS[marker]}
            for cidr in ("192.0.2.0/24", "2001:db8::/32")
        ]
        path = f"/1.0/interface/{_ADDRESS}/rules"
        return self.agent.call("PUT", path, json.dumps(rules).encode(), Content_Type="application/json")
