# SPDX-License-Identifier: Apache-2.0
"""Changes of topology, which change keepalived and the VIP's port too, and what may be after each."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass
from pathlib import Path

from amphora.core.changes.locks import KEEPALIVED
from amphora.core.changes.service_changes import UPLOAD
from amphora.core.topology import TopologyKind
from amphora.core.workloads.vrrp_files import VrrpFiles
from amphora.system.processes import read_pid_file
from tests.faults import keepalived
from tests.faults.matrix import Kind
from tests.faults.ports import LINK, MAC, PEER, PLUG, ip, stored_document
from tests.faults.scenario import Scenario
from tests.support.vrrp_pair import configuration

FAMILY = "topology"
SINGLE, PAIR = TopologyKind.SINGLE.value, TopologyKind.ACTIVE_STANDBY.value
CHANGE = "change"
TO_PAIR, TO_SINGLE = "to a pair", "to single"

#: Of the whole change, and of the changes that it is made of where they are of a kind of their own.
KINDS = (
    Kind(FAMILY, CHANGE, TO_PAIR, runs_before=False),
    Kind(FAMILY, CHANGE, TO_SINGLE, runs_after=False),
    Kind(keepalived.FAMILY, UPLOAD, "of the topology", runs_before=False, runs_after=False),
    Kind(f"port in a {FAMILY}", PLUG, TO_PAIR, runs_before=False, runs_after=False),
    Kind(f"port in a {FAMILY}", PLUG, TO_SINGLE, runs_before=False, runs_after=False),
)

VIP = "203.0.113.2"
_PORT = {"mac_address": MAC, "subnet_cidr": "203.0.113.0/24", "gateway": "203.0.113.1"}
_BODIES = {
    SINGLE: {"topology": SINGLE},
    PAIR: {"topology": PAIR, "role": "ACTIVE", "ha_ip": VIP, "secret": "b20e06cf1abcf29c708d"},
}
#: keepalived runs; the VIP is held.
_SHAPES = {(False, True): SINGLE, (True, True): PAIR}


def make_port(agent):
    """Plug the port of the VIP; keepalived will tell of it ten times as often as by default."""
    ip("link", "add", LINK, "address", MAC, "type", "veth", "peer", "name", PEER)
    ip("link", "set", PEER, "up")
    answer = agent.post(f"/1.0/plug/vip/{VIP}", _PORT | {"vrrp_ip": "203.0.113.4"})
    assert answer.status == 202, answer.body
    answer = agent.call("PUT", "/v0.1/vrrp/upload", configuration([VIP], 100, interface="eth1"))
    assert answer.status == 200, answer.body


@dataclass(frozen=True)
class Told:
    """What became of a change as a controller finds out that waits for its end."""

    status: int
    json: dict

    @property
    def body(self):
        return json.dumps(self.json).encode()


class TopologyScenario(Scenario):
    """The one topology; the fault is met by the change of it, or by one of those that it is made of."""

    program = "keepalived"

    def __init__(self, rig, kind):
        self._before, self._after = (PAIR, SINGLE) if kind.before == TO_SINGLE else (SINGLE, PAIR)
        old, new = (self._before, self._before), (self._after, self._after)
        super().__init__(rig, kind, FAMILY, [old], [new], [(self._before, self._after)])
        self.struck = (kind.kind, {UPLOAD: KEEPALIVED, PLUG: f"port-{MAC}"}.get(kind.kind, FAMILY))
        self.kind = CHANGE
        self.may_fail = False
        self._layout = VrrpFiles(rig.agent.base_path)
        self.pid_file = self._layout.pid_file

    def prepare(self):
        told = self._go_to(self._before)
        assert told.status < 300, told.json

    def change(self):
        return self._go_to(self._after)

    def state(self):
        """Return the topology that is told, and the one that the VIP is held by."""
        shown = ip("-n", self.rig.namespace, "addr", "show", "dev", "eth1")
        held = {each["local"] for link in shown for each in link["addr_info"]}
        shape = (self._runs(), VIP in held)
        return self._told(), _SHAPES.get(shape, shape)

    def incomplete(self):
        left = [path for path in self._layout.transient if path.exists()]
        left += self.rig.disk.glob("topology.json.*")
        is_pair = self._told() == PAIR
        (port,) = self.rig.interfaces.glob("eth*")
        if bool(stored_document(port)["floating"]) != is_pair:
            left.append(port)
        if self._layout.rendered.exists() != is_pair:
            left.append(self._layout.rendered)
        return [f"left behind, missing or another version: {path.name}" for path in left]

    def clean(self):
        self._go_to(SINGLE)

    def _runs(self):
        pid = read_pid_file(self.pid_file)
        with contextlib.suppress(FileNotFoundError):
            return Path(f"/proc/{pid}/comm").read_text() == "keepalived\n"
        return False

    def _told(self):
        return self.agent.call("GET", "/v0.1/topology").json["topology"]

    def _go_to(self, topology):
        answer = self.agent.post("/v0.1/topology", _BODIES[topology])
        if answer.status >= 300:
            return answer
        deadline = time.monotonic() + 60
        while self.agent.call("GET", "/v0.1/details").json["topology_status"] != "OK":
            assert time.monotonic() < deadline, "the change does not end"
            time.sleep(0.02)
        return Told(202 if self._told() == topology else 500, {"topology": self._told()})
