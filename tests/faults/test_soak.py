# SPDX-License-Identifier: Apache-2.0
"""An hour of a busy controller, compressed: what the agent holds at its end is what it held when warm.

Assumed is one request in 2 s, 1800 in an hour; half of them change something.
"""

import itertools
import os

import pytest

from tests.faults.measures import holdings, workers
from tests.faults.rig import eventually, listening_port, version
from tests.support.attached_amphora import AttachedAmphora
from tests.support.listeners import listener_id
from tests.support.load_balancers import OTHER_MAC

#: Beyond the number of operations that are remembered, and until the heap has its size: it grew by 2 MiB
#: three times up to the 1300th request, and by 0.2 MiB from the 1500th to the 7500th.
WARM_UP = 1500
REQUESTS = WARM_UP + 1800

STAYING = [listener_id(number) for number in (1, 2, 3)]
PASSING = listener_id(9)
PORT = {
    "mac_address": OTHER_MAC,
    "fixed_ips": [{"ip_address": "198.51.100.7", "subnet_cidr": "198.51.100.0/24"}],
}


class Controller:
    """Makes the requests of a controller, round after round."""

    def __init__(self, agent):
        self._agent = agent
        self._numbers = itertools.count(1)
        self._ports = {identity: listening_port() for identity in (*STAYING, PASSING)}
        self._material = [agent.pki.server(f"{name}.example.com", file_name=f"{name}.pem").path.read_bytes()
                          for name in ("one", "two")]  # fmt: skip
        self.refused = []
        self.requests = 0

    def set_up(self):
        for identity in STAYING:
            self._upload(identity)
            self._act(identity, "start")

    def until(self, requests):
        while self.requests < requests:
            self._round(next(self._numbers))

    def _round(self, number):
        identity = STAYING[number % len(STAYING)]
        material = self._material[number % 2]
        self._upload(identity)
        self._act(identity, "reload")
        self._call("PUT", f"/v0.1/listeners/{identity}/certificates/www.example.com.pem", material)
        for path in (
            f"listeners/{identity}",
            f"listeners/{identity}/haproxy",
            "listeners",
            "details",
            "info",
        ):
            self._call("GET", f"/v0.1/{path}")
        self._call("GET", f"/v0.1/listeners/{identity}/certificates/www.example.com.pem")
        if number % 4 == 0:
            self._call("PUT", "/v0.1/certificate", self._agent.pki.server("127.0.0.1").path.read_bytes())
            self._note(self._agent.post("/v0.1/plug/network/", PORT))
        if number % 5 == 0:
            self._upload(PASSING)
            for action in ("start", "stop"):
                self._act(PASSING, action)
            self._call("DELETE", f"/v0.1/listeners/{PASSING}")

    def _upload(self, identity):
        marker = f"round {self.requests}"
        self._note(self._agent.upload(identity, version(identity, self._ports[identity], marker)))

    def _act(self, identity, action):
        self._note(self._agent.act(identity, action))

    def _call(self, method, path, body=None):
        self._note(self._agent.call(method, path, body))

    def _note(self, answer):
        self.requests += 1
        if answer.status >= 300:
            self.refused.append((self.requests, answer.status, answer.body))


@pytest.fixture
def amphora(memory_dir):
    amphora = AttachedAmphora(memory_dir, "SINGLE")
    yield amphora
    amphora.clean_up()


@pytest.mark.slow
def test_an_hour_of_changes_leaves_nothing_behind(amphora, report):
    agent = amphora.agent
    controller = Controller(agent)
    controller.set_up()
    controller.until(WARM_UP)
    warm = holdings(agent)
    controller.until(REQUESTS)
    left = eventually(lambda: [each for each in STAYING if workers(agent, each) != 1])
    end = holdings(agent)
    report(f"soak of {controller.requests} requests: {warm} after {WARM_UP}; {end} at the end")
    assert controller.refused == []
    assert not left
    assert end.passing == ()
    assert end.descriptors <= warm.descriptors + 4
    assert end.threads <= warm.threads + 2
    assert end.pss <= warm.pss + 4
    assert end.files <= warm.files + 2
    assert os.path.getsize(agent.log_path) > 0
