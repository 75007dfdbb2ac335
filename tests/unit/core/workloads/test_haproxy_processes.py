# SPDX-License-Identifier: Apache-2.0
"""What is told of the processes of instances, and when many old workers are a reason for a warning."""

import os

import pytest

from amphora.core.workloads.haproxy_processes import ProcessReader, WorkerLimits, limits_of
from amphora.errors import InstanceNotFound, ServiceError, StorageError
from amphora.haproxy.control.old_workers import FEW, MANY
from amphora.models import ServiceState, ServiceStatus
from amphora.system.processes import ProcessIdentity, identify
from tests.unit.core.conftest import ID, NEW

ME = os.getpid()


class Bench:
    """A reader over one stored instance whose master is this very process."""

    def __init__(self, rig):
        rig.haproxy(ID).upload(NEW)
        self.workers = []
        self.service = ServiceStatus(ServiceState.RUNNING, ME)
        self.reader = ProcessReader(rig.directory, self._status, self._workers_of)

    def _status(self, layout):
        if isinstance(self.service, Exception):
            raise self.service
        return self.service

    def _workers_of(self, masters):
        return dict.fromkeys(masters, self.workers)

    def old_workers(self, count):
        """Let there be so many of them when all are read next."""
        self.workers = [ProcessIdentity(number, 100 + number) for number in range(count + 1)]
        self.reader.watch()


@pytest.fixture
def bench(rig):
    return Bench(rig)


def test_the_youngest_worker_is_the_one_that_serves(bench):
    bench.workers = [ProcessIdentity(12, 1), ProcessIdentity(11, 2), ProcessIdentity(13, 3)]
    (found,) = bench.reader.all()
    assert (found.id, found.state, found.master) == (ID, ServiceState.RUNNING, identify(ME))
    assert (found.worker.pid, [old.pid for old in found.old_workers]) == (13, [12, 11])
    assert bench.reader.one(ID) == found


def test_a_master_without_a_worker(bench):
    found = bench.reader.one(ID)
    assert (found.master, found.worker, found.old_workers) == (identify(ME), None, ())


def test_a_stopped_instance_has_no_processes(bench):
    bench.service = ServiceStatus(ServiceState.STOPPED)
    (found,) = bench.reader.all()
    assert (found.state, found.master, found.worker) == (ServiceState.STOPPED, None, None)


def test_a_process_manager_that_cannot_tell_keeps_nobody_from_answering(bench):
    bench.service = ServiceError("no bus")
    assert bench.reader.one(ID).state is ServiceState.FAILED


@pytest.mark.parametrize("unknown", ["00000000-0000-4000-8000-000000000000", "..", "", "operations"])
def test_what_is_not_stored_is_no_instance(bench, unknown):
    with pytest.raises(InstanceNotFound):
        bench.reader.one(unknown)


def test_a_directory_without_anything_in_it_is_no_instance(rig, layout):
    layout.directory.mkdir()
    reader = rig.services.processes
    assert reader.all() == []
    with pytest.raises(InstanceNotFound):
        reader.one(ID)


def test_many_old_workers_are_warned_of_once_until_they_are_few(bench, caplog):
    for count in (0, MANY, MANY + 1, MANY + 5, FEW + 1, MANY + 1):
        bench.old_workers(count)
    (line,) = caplog.messages
    assert line.startswith(f"{ID} has {MANY + 1} old workers")
    assert "haproxy_drain_time" in line
    bench.old_workers(FEW)
    bench.old_workers(MANY + 2)
    assert [message.split()[2] for message in caplog.messages] == [str(MANY + 1), str(MANY + 2)]


def test_an_instance_that_is_gone_is_warned_of_anew_when_it_comes_again(bench, caplog):
    bench.old_workers(MANY + 1)
    bench.service = ServiceStatus(ServiceState.STOPPED)
    bench.reader.watch()
    bench.service = ServiceStatus(ServiceState.RUNNING, ME)
    bench.old_workers(MANY + 1)
    assert len(caplog.messages) == 2


def test_counting_that_fails_harms_no_change(bench, caplog):
    def fail(_masters):
        raise StorageError("/proc is gone")

    ProcessReader(bench.reader._directory, bench._status, fail).watch()
    assert "could not count old workers: /proc is gone" in caplog.messages


def test_nothing_bounds_the_workers_of_what_does_not_run_or_is_no_haproxy():
    assert limits_of(None) == limits_of(identify(ME)) == WorkerLimits(None, None)
