# SPDX-License-Identifier: Apache-2.0
"""Requests without a key that come again while the first still runs: done once, all answered alike."""

import json

import pytest

from tests.api.conftest import CONFIGURATION, LISTENER
from tests.support.core import AMPHORA_ID
from tests.support.joining import Gate, together
from tests.support.load_balancers import MAC, MEMBER_PORT, OTHER_MAC, VIP
from tests.support.lvs import LISTENER as UDP
from tests.support.lvs import with_members

ONE, UDP_ONE = f"/v0.1/listeners/{LISTENER}", f"/v0.1/listeners/{UDP}"
PEM = f"{ONE}/certificates/example.pem"
JSON = "application/json"
RULES = [{"protocol": "TCP", "cidr": None, "port": 80}]

#: Method, path and body; what is held; the status of each answer.
REQUESTS = [
    ("PUT", f"/v0.1/listeners/{AMPHORA_ID}/{LISTENER}/haproxy", CONFIGURATION, "engine.haproxy.check", 201),
    ("PUT", f"{ONE}/start", b"", "engine.prove", 202),
    ("PUT", f"{ONE}/reload", b"", "engine.prove", 202),
    ("DELETE", ONE, b"", "processes.remove", 200),
    (
        "PUT",
        f"/1.0/listeners/{AMPHORA_ID}/{UDP}/udp_listener",
        with_members(2),
        "engine.keepalived.check",
        200,
    ),
    ("PUT", f"{UDP_ONE}/start", b"", "engine.prove", 202),
    ("PUT", f"{UDP_ONE}/reload", b"", "engine.prove", 202),
    ("DELETE", UDP_ONE, b"", "processes.remove", 200),
    ("DELETE", PEM, b"", "cert_store.delete", 200),
    ("POST", "/1.0/plug/vip/203.0.113.2", VIP, "network.activate", 202),
    ("POST", "/1.0/plug/network", MEMBER_PORT, "network.activate", 202),
    ("PUT", "/1.0/interface/203.0.113.4/rules", RULES, "nftables.load", 200),
]


@pytest.fixture
def served(client, rig):
    """A core with one object of each kind that does not run yet, and ports to plug."""
    client.upload()
    client.do("PUT", f"/1.0/listeners/{AMPHORA_ID}/{UDP}/udp_listener", with_members(1))
    rig.cert_store.put(LISTENER, "example.pem", b"any")
    for mac in (MAC, OTHER_MAC):
        rig.network.wires.plug(mac)
    return rig


@pytest.mark.parametrize(("method", "path", "body", "held", "status"), REQUESTS)
def test_four_requests_at_once_are_one_operation(client, served, method, path, body, held, status):
    headers = {}
    if not isinstance(body, bytes):
        body, headers = json.dumps(body).encode(), {"Content_Type": JSON}
    if "rules" in path:
        client.send("/1.0/plug/vip/203.0.113.2", VIP | {"is_sriov": True})
    *owners, step = held.split(".")
    owner = served
    for name in owners:
        owner = getattr(owner, name)
    before = len(served.operations.all())
    gate = Gate(owner, step)
    answers = together(gate, lambda: client.do(method, path, body, **headers))
    assert [answer.status_int for answer in answers] == [status] * 4
    assert len({answer.body for answer in answers}) == 1
    assert len(served.operations.all()) == before + 1
