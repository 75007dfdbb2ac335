# SPDX-License-Identifier: Apache-2.0

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.drivers.process_manager.managed_service import ManagedService, restart_delay
from amphora.drivers.process_manager.records import ServiceRecord
from amphora.drivers.process_manager.service_log import ServiceLog
from amphora.models import RestartPolicy, ServiceSpec, ServiceState
from amphora.system.processes import ProcessIdentity, identify

SPEC = ServiceSpec("web", "A service", ("/bin/web",))
NO_RESTART = ServiceSpec("web", "A service", ("/bin/web",), restart=RestartPolicy(on_crash=False))
LIVING = identify(os.getpid())
DEAD = ProcessIdentity(LIVING.pid, LIVING.start_ticks - 1)


def managed(tmp_path, record, stable_after=10.0):
    return ManagedService(record, ServiceLog(tmp_path / "web.log"), stable_after)


@pytest.mark.parametrize(
    ("spec", "wanted", "process", "state"),
    [
        (SPEC, True, LIVING, ServiceState.RUNNING),
        (SPEC, True, DEAD, ServiceState.STARTING),
        (SPEC, True, None, ServiceState.STARTING),
        (NO_RESTART, True, DEAD, ServiceState.FAILED),
        (SPEC, False, DEAD, ServiceState.STOPPED),
        (SPEC, False, None, ServiceState.STOPPED),
        # Being stopped: it counts as running for as long as it lives.
        (SPEC, False, LIVING, ServiceState.RUNNING),
    ],
)
def test_states(tmp_path, spec, wanted, process, state):
    status = managed(tmp_path, ServiceRecord(spec, wanted, process)).status()
    assert status.state is state
    assert status.pid == (LIVING.pid if process is LIVING else None)
    assert (status.started_at is None) is (status.pid is None)


def test_start_under_way_is_starting(tmp_path):
    for process in (None, LIVING):
        service = managed(tmp_path, ServiceRecord(SPEC, True, process))
        service.is_starting = True
        assert service.status().state is ServiceState.STARTING


def test_delay_doubles_up_to_its_bound():
    policy = RestartPolicy(delay=0.1, max_delay=0.5)
    assert [restart_delay(policy, crashes) for crashes in range(6)] == [0, 0.1, 0.2, 0.4, 0.5, 0.5]


@given(st.integers(0, 10**9), st.floats(0, 100), st.floats(0, 1000))
def test_delay_is_bounded(crashes, delay, max_delay):
    assert 0 <= restart_delay(RestartPolicy(delay=delay, max_delay=max_delay), crashes) <= max_delay


def test_crash_after_a_long_run_counts_as_the_first(tmp_path):
    service = managed(tmp_path, ServiceRecord(SPEC), stable_after=0.0)
    service.note_crash()
    service.note_crash()
    assert service.restart_delay() == pytest.approx(0.2)
    service.note_ready()
    service.note_crash()
    assert service.restart_delay() == pytest.approx(0.1)
    # A restart that fails is no run, however long ago the last one was.
    service.note_crash()
    assert service.restart_delay() == pytest.approx(0.2)


def test_crash_after_a_short_run_counts_on(tmp_path):
    service = managed(tmp_path, ServiceRecord(SPEC), stable_after=1000.0)
    for _ in range(3):
        service.note_ready()
        service.note_crash()
    assert service.restart_delay() == pytest.approx(0.4)
