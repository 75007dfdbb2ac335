# SPDX-License-Identifier: Apache-2.0
"""Controllers send a request again when its answer came too late: the second is fine and changes nothing."""

import json

import pytest

from tests.support.load_balancers import (
    AMPHORA,
    LISTENER,
    LOAD_BALANCER,
    MAC,
    MEMBER_PORT,
    OTHER_MAC,
    VIP,
    backend,
    frontend,
    global_section,
)

ONE = f"/1.0/loadbalancer/{LOAD_BALANCER}"
BODY = (global_section() + frontend(LISTENER, ["203.0.113.2:80"]) + backend(LISTENER, 8080)).encode()
SHARED = MEMBER_PORT | {"mac_address": MAC, "vip_net_info": VIP | {"vip": "203.0.113.2"}}

#: Each request, in the order in which they depend upon each other, and the status of a repetition.
REQUESTS = [
    ("GET", "//", None, 200),
    ("GET", "/1.0/info", None, 200),
    ("GET", "/1.0/details", None, 200),
    ("PUT", "/1.0/config", b"[DEFAULT]\n", 202),
    ("POST", "/1.0/plug/vip/203.0.113.2", VIP, 409),
    ("POST", "/1.0/plug/network", MEMBER_PORT, 202),
    ("POST", "/1.0/plug/network", SHARED, 202),
    ("GET", "/1.0/interface/203.0.113.2", None, 200),
    ("PUT", f"{ONE}/certificates/{LISTENER}.pem", b"/a/b.pem\n", 200),
    ("GET", f"{ONE}/certificates/{LISTENER}.pem", None, 200),
    ("PUT", f"/1.0/loadbalancer/{AMPHORA}/{LOAD_BALANCER}/haproxy", BODY, 202),
    ("GET", f"{ONE}/haproxy", None, 200),
    ("PUT", f"{ONE}/reload", b"", 202),
    ("PUT", f"{ONE}/start", b"", 202),
    ("GET", "/1.0/listeners", None, 200),
    ("PUT", "/1.0/vrrp/upload", b"vrrp_instance x {}", 200),
    ("PUT", "/1.0/vrrp/start", b"", 202),
    ("PUT", "/1.0/vrrp/reload", b"", 202),
    ("PUT", "/1.0/vrrp/stop", b"", 202),
    ("PUT", f"{ONE}/stop", b"", 202),
    ("DELETE", f"{ONE}/certificates/{LISTENER}.pem", None, 200),
    ("DELETE", f"/1.0/listeners/{LOAD_BALANCER}", None, 200),
]


@pytest.fixture
def attached(rig):
    for mac in (MAC, OTHER_MAC):
        rig.network.wires.plug(mac)
    return rig


def is_state(path):
    """Whether a path is of what requests can change; how they went is told beside it."""
    return path.is_file() and path.parent.name != "operations"


def state(rig):
    """Everything that requests can change."""
    root = rig.directory.files(LOAD_BALANCER).base_path
    stored = {str(path): path.read_bytes() for path in sorted(root.rglob("*")) if is_state(path)}
    machine = rig.processes.machine
    services = {name: (spec, rig.processes.status(name).pid) for name, spec in machine.specs.items()}
    return stored, services, dict(rig.network.wires.active), dict(rig.network.wires.stored)


def send(client, method, path, body):
    if isinstance(body, dict):
        return client.do(method, path, json.dumps(body).encode(), Content_Type="application/json")
    return client.do(method, path, body or b"")


def test_every_request_may_come_twice(client, attached):
    for method, path, body, again in REQUESTS:
        first = send(client, method, path, body)
        assert first.status_int in (200, 202), (method, path, first.text)
        after_first = state(attached)
        second = send(client, method, path, body)
        assert second.status_int == again, (method, path, second.text)
        assert state(attached) == after_first, (method, path)
