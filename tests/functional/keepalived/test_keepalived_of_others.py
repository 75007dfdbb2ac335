# SPDX-License-Identifier: Apache-2.0
"""A keepalived that another agent has started, where the process manager cannot take it over.

Two of them would both hold the addresses. Where it can, under systemd, see ``tests/functional/service``.
"""

import os
import signal
import subprocess

import pytest

from amphora.errors import VrrpActionFailed
from amphora.models import Role
from amphora.system.processes import children_of, command_line, identify, process_ids, read_pid_file
from tests.support.vrrp_pair import COMMAND, configuration, eventually


def daemons(layout):
    """Main processes of every keepalived whose configuration is of this node."""
    own = [pid for pid in process_ids() if any(f"{layout.directory}/" in word for word in command_line(pid))]
    return [pid for pid in own if not any(pid in children_of(other) for other in own)]


@pytest.fixture
def vips():
    return ("198.51.100.100",)


@pytest.fixture
def left(new_pair, vips):
    """A node without an agent, on which Octavia's own has started keepalived."""
    node = new_pair.nodes[0]
    node.end_agent()
    node.layout.directory.mkdir(exist_ok=True)
    node.layout.stored.write_bytes(configuration(vips, 100))
    files = ("-f", str(node.layout.stored), "-p", str(node.layout.pid_file))
    command = ("ip", "netns", "exec", node.namespace, str(COMMAND), "--log-facility=1", *files)
    subprocess.run(command, check=True, timeout=10)
    eventually(lambda: node.holds(vips) == set(vips), "it holds the VIPs")
    yield node
    main = read_pid_file(node.layout.pid_file)
    if main is not None and identify(main):
        os.kill(main, signal.SIGTERM)
        eventually(lambda: not identify(main), "it has ended", 10)


@pytest.fixture
def beside(left):
    """The same with our agent, which has looked at what is there."""
    left.boot()
    return left


def test_an_agent_that_starts_beside_it_touches_neither_it_nor_its_addresses(beside, vips):
    main = read_pid_file(beside.layout.pid_file)
    assert main is not None, "heartbeats go by its pid file"
    assert daemons(beside.layout) == [main]
    assert beside.holds(vips) == set(vips)
    assert beside.vrrp.role() is Role.UNKNOWN


@pytest.mark.parametrize("action", ["start", "reload"])
def test_no_second_one_is_started(beside, vips, action):
    main = read_pid_file(beside.layout.pid_file)
    with pytest.raises(VrrpActionFailed, match=rf"(?s)\(pid {main}\).*No process was touched"):
        getattr(beside.vrrp, action)()
    assert daemons(beside.layout) == [main]
    assert beside.holds(vips) == set(vips)


def test_that_it_could_not_be_stopped_is_told(beside, vips):
    with pytest.raises(VrrpActionFailed, match="another agent has started keepalived"):
        beside.vrrp.stop()
    assert beside.holds(vips) == set(vips)


def test_once_it_has_ended_ours_starts(beside, vips):
    main = read_pid_file(beside.layout.pid_file)
    os.kill(main, signal.SIGTERM)
    eventually(lambda: not identify(main), "it has ended", 10)
    assert str(beside.vrrp.start()).startswith("started")
    eventually(lambda: beside.holds(vips) == set(vips), "ours holds the VIPs")
    assert len(daemons(beside.layout)) == 1
