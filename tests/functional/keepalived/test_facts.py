# SPDX-License-Identifier: Apache-2.0
"""What keepalived does that this agent is built around, and that the agent keeps it from happening."""

import os
import signal
import subprocess

import pytest

from amphora.errors import InvalidConfiguration
from amphora.models import Role
from amphora.system.addresses import addresses_in, remove_addresses
from tests.support.vrrp_pair import COMMAND, FAMILIES, Sampler, configuration, eventually, without_prefix

#: Seconds. A peer takes over after more than three of them: long enough for a busy machine to tell
#: what happens before that from what happens after it.
INTERVAL = 0.5

#: keepalived does not survive a reload of any of these. The switch has the first one's interface, no node.
BAD = {
    "an interface that is elsewhere": (b"interface eth1", b"interface p11"),
    "a router id out of range": (b"router_id 51", b"router_id 300"),
}


@pytest.fixture
def vips():
    return FAMILIES["dual"]


def keepalived_in(place, *arguments):
    """Return the command that runs keepalived, and nothing of ours, in a place's namespace."""
    return ["ip", "netns", "exec", place, str(COMMAND), *map(str, arguments)]


def accepts(place, file):
    """Whether keepalived's check from within a namespace finds nothing to say."""
    command = keepalived_in(place, "-t", "-f", file)
    return subprocess.run(command, timeout=20, capture_output=True, check=False).returncode == 0


class Bare:
    """A keepalived that nobody supervises."""

    def __init__(self, place, directory):
        self.namespace = place.namespace
        self.file = directory / f"{place.number}.conf"
        self._pid_files = [directory / f"{place.number}.{name}" for name in ("pid", "vrrp")]
        self._log = directory / f"{place.number}.log"
        self.process = None

    def start(self, data):
        self.file.write_bytes(data)
        main, vrrp = self._pid_files
        command = keepalived_in(
            self.namespace, "-n", "-l", "-G", "-P", "-f", self.file, "-p", main, "-r", vrrp
        )
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def reload(self, data):
        self.file.write_bytes(data)
        self.process.send_signal(signal.SIGHUP)

    def held(self, vips):
        return {without_prefix(each) for each in addresses_in(self.namespace)} & set(vips)

    def end(self, vips):
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)
        left = [each for each in addresses_in(self.namespace) if without_prefix(each) in vips]
        remove_addresses(self.namespace, left)


@pytest.fixture
def bare_pair(network, memory_dir, vips):
    pair = [Bare(place, memory_dir) for place in network.nodes]
    yield pair
    for each in pair:
        each.end(vips)


def test_a_reload_of_a_bad_configuration_ends_keepalived_and_both_nodes_hold_the_vips(bare_pair, vips):
    first, second = bare_pair
    good = configuration(vips, 100, INTERVAL)
    first.start(good)
    eventually(lambda: first.held(vips) == set(vips), "the first is master", 20)
    second.start(configuration(vips, 90, INTERVAL))
    first.reload(good.replace(*BAD["an interface that is elsewhere"]))
    assert first.process.wait(20) != 0
    assert first.held(vips) == set(vips), "it took its addresses off"
    eventually(lambda: second.held(vips) == set(vips), "the second takes over", 20)
    assert first.held(vips) == set(vips), "somebody took the addresses off the dead one"


def test_the_check_tells_only_in_the_namespace_of_the_interfaces(network, memory_dir, vips):
    good, bad = memory_dir / "good.conf", memory_dir / "bad.conf"
    good.write_bytes(configuration(vips, 100))
    bad.write_bytes(good.read_bytes().replace(*BAD["an interface that is elsewhere"]))
    inside, outside = network.nodes[0].namespace, network.switch
    assert (accepts(inside, good), accepts(inside, bad)) == (True, False)
    assert (accepts(outside, good), accepts(outside, bad)) == (False, True), "it would be told the opposite"


@pytest.fixture
def pair(new_pair, vips):
    """Two nodes of ours, the first one master, with time enough between two adverts."""
    for node, priority, role in zip(new_pair.nodes, (100, 90), (Role.ACTIVE, Role.STANDBY), strict=True):
        node.vrrp.upload(configuration(vips, priority, INTERVAL))
        node.vrrp.start()
        eventually(lambda node=node, role=role: node.vrrp.role() is role, f"it is {role}", 20)
    new_pair.wait_for_roles(new_pair.nodes[0], seconds=20)
    return new_pair


def test_we_refuse_the_upload_of_it_and_touch_nothing(pair, vips):
    first, _ = pair.nodes
    good, main, vrrp = first.vrrp.configuration(), first.processes.main(), first.processes.vrrp()
    for damage in BAD.values():
        with pytest.raises(InvalidConfiguration):
            first.vrrp.upload(good.replace(*damage))
    assert first.vrrp.configuration() == good
    assert str(first.vrrp.reload()) == f"reloaded (pid {main.pid})"
    assert (first.processes.main(), first.processes.vrrp()) == (main, vrrp)
    pair.wait_for_roles(first, seconds=20)


def test_when_it_is_reloaded_behind_our_back_the_orphans_go_before_the_peer_takes_over(pair, vips):
    first, second = pair.nodes
    # Nobody starts it again, which would take the addresses off as well.
    first.services.close()
    bad = first.layout.running.read_bytes().replace(*BAD["a router id out of range"])
    with Sampler(pair.nodes, vips) as sampler:
        first.layout.running.write_bytes(bad)
        os.kill(first.processes.main().pid, signal.SIGHUP)
        eventually(lambda: not first.holds(vips), "the watchdog takes them off", 20)
        assert first.processes.vrrp() is None, "keepalived has outlived it"
        eventually(lambda: second.holds(vips) == set(vips), "the second takes over", 20)
    assert sampler.doubles == []
    assert first.vrrp.role() is Role.UNKNOWN
