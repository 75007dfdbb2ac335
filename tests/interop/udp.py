# SPDX-License-Identifier: Apache-2.0
"""UDP listeners, as far as the kernel of the tests goes."""

from __future__ import annotations

import contextlib
from pathlib import Path

from tests.interop.balancers import balancer, both, listener, pool
from tests.interop.driver import Controller, DriverFailed


def take_and_give_up(controller: Controller) -> None:
    """Create a UDP listener and delete it; without IP_VS its keepalived is configured and cannot run."""
    runs = Path("/proc/net/ip_vs").exists()
    udp = listener(7, 53, 7, "UDP")
    document = balancer([udp], [pool(7, *both(53), protocol="UDP")])
    controller.made()
    with contextlib.nullcontext() if runs else contextlib.suppress(DriverFailed):
        assert controller.update(balancer=document) == {"failed": []}
    made = {request.path.rpartition("/")[2]: request.status for request in controller.made()}
    assert made["udp_listener"] == 200
    assert made["reload"] == (202 if runs else 500)
    controller.delete(balancer=document, listener_id=udp["id"])
    assert [request.status for request in controller.made()][-1] == 200
    assert controller.listeners() == []
