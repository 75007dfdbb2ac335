# SPDX-License-Identifier: Apache-2.0
"""When a proof is given up because haproxy ends of what it loads, and when it is not."""

import pytest

from amphora.core.workloads.running_haproxy import CrashWatch
from amphora.errors import ServiceError
from amphora.models import ServiceState, ServiceStatus
from amphora.testing.fake_process_manager import FakeProcessManager

NAME = "haproxy-one"
COMPLAINT = "[ALERT]    (10) : Current worker (11) exited with code 137 (Killed)"


class Services(FakeProcessManager):
    """Has one service, whose main process and output are set by tests."""

    pid = 10
    printed = "[WARNING]  (10) : a frontend without a backend"
    questions = 0

    def status(self, name):
        assert name == NAME
        super().status(name)
        state = ServiceState.RUNNING if self.pid else ServiceState.STARTING
        return ServiceStatus(state, self.pid)

    def output(self, name):
        self.questions += 1
        return self.printed


@pytest.fixture
def services():
    return Services()


@pytest.fixture
def watch(services):
    return CrashWatch(services, NAME, 10)


def test_what_lives_is_waited_for_whatever_it_says(services, watch):
    services.printed = COMPLAINT
    assert watch.abort_reason() == ""


@pytest.mark.parametrize("pid", [None, 20])
def test_what_has_ended_with_a_complaint_is_given_up_at_once(services, watch, pid):
    services.pid, services.printed = pid, COMPLAINT
    assert watch.abort_reason() == "haproxy has ended by itself"


def test_what_only_a_worker_complained_of_may_have_been_killed(services, watch):
    services.pid, services.printed = None, "[ALERT]    (11) : sendmsg()/writev() failed in logger #1"
    assert watch.abort_reason() == ""


def test_one_end_without_a_word_is_somebodys_kill(services, watch):
    for services.pid in (None, None, 20, 20):
        assert watch.abort_reason() == ""
    assert services.questions == 1, "it may have to be asked of another program"


def test_the_second_end_is_not(services, watch):
    for services.pid in (None, 20):
        assert watch.abort_reason() == ""
    services.pid = None
    assert watch.abort_reason() == "haproxy has ended 2 times"


def test_what_had_ended_before_anybody_looked_counts(services):
    services.pid = None
    watch = CrashWatch(services, NAME, None)
    for services.pid in (None, 20):
        assert watch.abort_reason() == ""
    services.pid = None
    assert watch.abort_reason() == "haproxy has ended 2 times"


def test_a_manager_that_cannot_tell_ends_nothing(services, watch):
    services.pid = None
    services.fail_next("status", ServiceError("no bus"))
    assert watch.abort_reason() == ""
