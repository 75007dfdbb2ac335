# SPDX-License-Identifier: Apache-2.0
"""The heartbeat's source of UDP and SCTP listeners: real processes stand in for keepalived, and a made-up
table for the kernel's, which here has none."""

import os
from ipaddress import ip_address

import pytest

from amphora.core.workloads.lvs_files import LvsDirectory
from amphora.errors import OperationFailed
from amphora.health.counter_deltas import CounterDeltas
from amphora.health.lvs_source import KernelReading, LvsSource
from amphora.health.readings import Counters, PoolReading
from amphora.lvs.ipvs_counters import IpvsCounters
from amphora.lvs.ipvs_table import Endpoint, IpvsServer, IpvsService, VirtualService
from tests.support.lvs import LISTENER, POOL, StandIn, member, with_members

VIP = VirtualService("UDP", Endpoint(ip_address("203.0.113.2"), 53))
MONITOR = "    # Configuration for HealthMonitor 80000000-0000-4000-8000-000000000001\n"
CONFIGURATION = with_members(1, 1, monitor=MONITOR)


class Kernel:
    """What the kernel would tell."""

    def __init__(self):
        first = Endpoint(ip_address("10.0.0.1"), 53)
        self.table = (IpvsService(VIP, [IpvsServer(first, 1, 2)]),)
        self.counters = {VIP: IpvsCounters(7, 8, 9)}
        self.problem = ""

    def __call__(self):
        return KernelReading(self.table, self.counters, self.problem)


@pytest.fixture
def kernel():
    return Kernel()


@pytest.fixture
def source(short_dir, kernel):
    return LvsSource(LvsDirectory(short_dir), "", kernel)


@pytest.fixture
def layout(short_dir):
    layout = LvsDirectory(short_dir).files(LISTENER)
    layout.directory.mkdir(parents=True)
    for path in (layout.stored, layout.running):
        path.write_bytes(CONFIGURATION)
        os.utime(path, (1, 1))
    return layout


@pytest.fixture
def stand_in(layout):
    made = []

    def stand_in(**options):
        made.append(StandIn(layout, **options))
        return made[-1]

    yield stand_in
    for each in made:
        each.close()


def states(source):
    (process,) = source.read(1.0).processes
    (pool,) = process.pools
    return pool.members


def test_a_running_listener_is_told_with_its_pool(source, stand_in):
    stand_in()
    reading = source.read(1.0)
    (process,) = reading.processes
    assert (process.origin, process.generation, process.replaced) == (LISTENER, "", False)
    (listener,) = process.listeners
    assert (listener.id, listener.status, listener.active) == (LISTENER, "OPEN", 2)
    assert listener.counters == Counters(8, 9, 7, 0)
    assert process.pools == (PoolReading(POOL, "UP", {member(1): "UP", member(2): "DOWN"}),)
    assert (reading.origins, reading.problems) == ({LISTENER}, {})


def test_one_that_does_not_run_is_known_and_not_told(source, layout, stand_in):
    assert source.read(1.0).processes == ()
    stand_in().close()
    reading = source.read(1.0)
    assert (reading.processes, reading.origins) == ((), {LISTENER})


def test_one_that_is_switched_off_is_not_told(source, layout, stand_in):
    stand_in()
    layout.stored.write_text(f"# Listener {LISTENER} is disabled\n")
    assert source.read(1.0).processes == ()


def test_a_missing_pid_file_of_the_checker_keeps_no_heartbeat_back(source, layout, stand_in):
    stand_in(checker=False)
    assert states(source) == {member(1): "UP", member(2): "RESTARTING"}


def test_a_configuration_that_is_not_taken_up_yet_makes_nobody_down(source, layout, stand_in):
    stand_in()
    layout.stored.write_bytes(with_members(1, 1, 1, monitor=MONITOR))
    assert states(source) == {member(1): "UP", member(2): "RESTARTING", member(3): "RESTARTING"}


@pytest.mark.parametrize("runs_from", ["running", "stored"])
def test_a_checker_that_is_older_than_its_file_has_not_read_it(source, layout, stand_in, runs_from):
    if runs_from == "stored":
        # As another agent leaves it.
        layout.running.unlink()
    stand_in(file=getattr(layout, runs_from))
    assert states(source)[member(2)] == "DOWN"
    os.utime(layout.pid_files.check, (0, 0))
    assert states(source)[member(2)] == "RESTARTING"


def test_counters_that_once_cannot_be_had_are_not_told_twice(source, kernel, stand_in):
    stand_in()
    before = source.read(1.0).processes[0].listeners
    kernel.counters, kernel.problem = None, "the kernel did not answer"
    reading = source.read(1.0)
    assert reading.processes[0].listeners == before
    assert reading.problems == {"virtual services": "the kernel did not answer"}


def test_a_restart_of_keepalived_loses_no_count_and_tells_none_twice(source, kernel, stand_in):
    stand_in()
    deltas = CounterDeltas()
    told = []
    for connections in (7, 9, 2):
        # Services that keepalived makes known anew count from zero.
        kernel.counters = {VIP: IpvsCounters(connections, 0, 0)}
        reading = source.read(1.0)
        deltas.note(reading.processes[0])
        deltas.forget(reading)
        told.append(deltas.unsent(LISTENER).connections)
        deltas.mark_sent([LISTENER])
        deltas = CounterDeltas(deltas.entries())
    assert told == [7, 2, 2]


def test_a_namespace_that_is_gone_is_for_the_heartbeat_to_hear(short_dir, stand_in):
    stand_in()
    source = LvsSource(LvsDirectory(short_dir), "amp-no-such-namespace")
    with pytest.raises(OperationFailed, match="amp-no-such-namespace"):
        source.read(1.0)


def test_this_machines_kernel_can_be_asked(short_dir, stand_in):
    stand_in()
    (process,) = LvsSource(LvsDirectory(short_dir), "").read(1.0).processes
    assert process.listeners[0].counters == Counters()
