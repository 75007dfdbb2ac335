# SPDX-License-Identifier: Apache-2.0
"""Load balancers as documents for a controller; ``controller/documents.py`` says what may be in one."""

from __future__ import annotations

from tests.interop.rig import MEMBERS, VIP, VIP6

LOAD_BALANCER = "1b000000-0000-4000-8000-000000000001"


def identity(kind: int, number: int) -> str:
    return f"{kind:08d}-0000-4000-8000-{number:012d}"


def balancer(listeners, pools, **others):
    """A load balancer with both VIPs."""
    document = {"id": LOAD_BALANCER, "topology": "SINGLE", "vip": VIP, "additional_vips": [VIP6]}
    return document | {"listeners": listeners, "pools": pools} | others


def listener(number, port, pool=None, protocol="HTTP", **others):
    """Listener ``number``, whose default is pool ``pool``."""
    default = None if pool is None else identity(9, pool)
    known = {"id": identity(1, number), "protocol": protocol, "protocol_port": port}
    return known | {"default_pool_id": default} | others


def pool(number, *targets, protocol="HTTP", **others):
    """Pool ``number`` with a member for each (address, port)."""
    members = [
        {"id": identity(5, 10 * number + place), "ip_address": address, "protocol_port": port}
        for place, (address, port) in enumerate(targets)
    ]
    return {"id": identity(9, number), "protocol": protocol, "members": members} | others


def both(port):
    """The two members' addresses with a port."""
    return [(address, port) for address in MEMBERS]
