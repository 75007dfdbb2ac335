# SPDX-License-Identifier: Apache-2.0
"""What a client sees, and who holds the VIPs, while the master's keepalived dies again and again."""

import time

import pytest

from amphora.models import Role
from tests.support.vrrp_pair import ADVERT_INTERVAL, Sampler, eventually

#: VRRP's own time with a margin for what is beside it.
LONGEST_GAP = 4 * ADVERT_INTERVAL + 1.0
ROUNDS = 50

pytestmark = pytest.mark.alone


def test_traffic_and_roles_follow_a_kill(pair):
    first, second = pair.nodes
    pair.client.wait_for(pair.vips, first.namespace, 1.0)
    first.kill()
    gap = pair.client.wait_for(pair.vips, second.namespace, LONGEST_GAP)
    assert gap < LONGEST_GAP
    pair.wait_for_roles(second, seconds=1.0)


def test_two_nodes_never_hold_a_vip_at_once(pair):
    holder, other = pair.nodes
    longest_gap = longest_doubt = 0.0
    with Sampler(pair.nodes, pair.vips) as sampler:
        for number in range(ROUNDS):
            doomed = () if number % 2 else (holder.processes.main(),)
            holder.kill(*doomed)
            gap = pair.client.wait_for(pair.vips, other.namespace, LONGEST_GAP)
            doubt = pair.wait_for_roles(other, seconds=5.0)
            longest_gap, longest_doubt = max(gap, longest_gap), max(doubt, longest_doubt)
            holder, other = other, holder
    print(f"gap {longest_gap:.3f} s, doubt {longest_doubt:.3f} s, {sampler.samples} samples")
    assert sampler.doubles == []
    assert sampler.samples > 10 * ROUNDS
    assert longest_gap < LONGEST_GAP


def test_orphans_are_gone_long_before_the_peer_takes_over(pair):
    first, second = pair.nodes
    first.services.close()
    begun = time.monotonic()
    first.kill()
    eventually(lambda: not first.holds(pair.vips), "the VIPs are taken off the dead node", 1.0)
    assert not second.holds(pair.vips), "the peer took over before the VIPs were gone"
    assert time.monotonic() - begun < 3 * ADVERT_INTERVAL
    pair.client.wait_for(pair.vips, second.namespace, LONGEST_GAP)
    assert first.vrrp.role() is Role.UNKNOWN
    assert second.vrrp.role() is Role.ACTIVE


def test_a_dead_vrrp_process_alone_loses_its_vips(pair):
    first, _ = pair.nodes
    main, vrrp = first.processes.main(), first.processes.vrrp()
    first.kill(vrrp)
    eventually(lambda: not first.holds(pair.vips), "the VIPs are taken off", 0.2)
    eventually(lambda: first.processes.vrrp() not in (None, vrrp), "keepalived starts its child again")
    assert first.processes.main() == main
    eventually(lambda: any(node.holds(pair.vips) for node in pair.nodes), "somebody takes the VIPs")
    (holder,) = (node for node in pair.nodes if node.holds(pair.vips))
    pair.wait_for_roles(holder, seconds=2.0)


def test_a_master_that_is_stopped_hands_over_at_once(pair):
    first, second = pair.nodes
    with Sampler(pair.nodes, pair.vips) as sampler:
        assert str(first.vrrp.stop()).startswith("stopped")
        pair.client.wait_for(pair.vips, second.namespace, LONGEST_GAP)
    assert sampler.doubles == []
    assert not first.holds(pair.vips)
    assert first.vrrp.role() is Role.UNKNOWN


def test_a_link_that_is_down_is_no_role_of_a_master(pair):
    first, second = pair.nodes
    pair.network.set_link(first.place, "down")
    try:
        pair.client.wait_for(pair.vips, second.namespace, LONGEST_GAP)
        eventually(lambda: first.vrrp.role() is Role.STANDBY, "the cut-off node knows", 1.0)
        assert second.vrrp.role() is Role.ACTIVE
    finally:
        pair.network.set_link(first.place, "up")
