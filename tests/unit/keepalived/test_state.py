# SPDX-License-Identifier: Apache-2.0
import os
from dataclasses import replace

import pytest

from amphora.keepalived.state import Notification, VrrpState, VrrpStates
from amphora.models import Role
from amphora.system.processes import identify

MASTER, BACKUP = Notification("a", VrrpState.MASTER), Notification("a", VrrpState.BACKUP)


@pytest.fixture
def path(short_dir):
    return short_dir / "states.json"


@pytest.fixture
def states(path):
    return VrrpStates(path)


@pytest.fixture
def process():
    return identify(os.getpid())


@pytest.mark.parametrize(
    ("told", "role"),
    [
        ([], Role.UNKNOWN),
        ([BACKUP], Role.STANDBY),
        ([BACKUP, MASTER], Role.ACTIVE),
        ([MASTER, BACKUP], Role.STANDBY),
        ([MASTER, Notification("b", VrrpState.BACKUP)], Role.ACTIVE),
        ([Notification("a", VrrpState.FAULT)], Role.STANDBY),
        ([MASTER, Notification("a", VrrpState.GONE)], Role.UNKNOWN),
    ],
)
def test_the_role_is_what_was_told_last(states, told, role):
    states.note(told)
    assert states.role() is role


def test_nothing_is_known_of_a_process_that_ended(states, process):
    states.belong_to(process)
    states.note([MASTER])
    states.forget()
    assert states.role() is Role.UNKNOWN
    assert states.get() == {}


def test_the_next_agent_knows_at_once(states, path, process):
    states.belong_to(process)
    states.note([MASTER])
    states.save()
    after = VrrpStates(path)
    assert after.restore(process)
    assert after.get() == {"a": VrrpState.MASTER}
    assert path.stat().st_mode & 0o777 == 0o600


def test_states_of_another_process_are_not_believed(states, path, process):
    states.belong_to(process)
    states.note([MASTER])
    states.save()
    after = VrrpStates(path)
    assert not after.restore(replace(process, start_ticks=process.start_ticks + 1))
    assert after.role() is Role.UNKNOWN


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"process": 1, "states": {}}'])
def test_a_damaged_document_is_not_believed(states, path, process, data):
    path.write_bytes(data)
    assert not states.restore(process)


def test_what_did_not_change_is_not_written_again(states, path, process):
    states.belong_to(process)
    states.save()
    path.unlink()
    states.save()
    assert not path.exists()
    states.note([MASTER])
    states.save()
    assert path.exists()


def test_a_document_that_cannot_be_written_leaves_the_memory(short_dir, process, caplog):
    states = VrrpStates(short_dir / "missing" / "states.json")
    states.note([MASTER])
    states.save()
    assert states.role() is Role.ACTIVE
    assert "could not store" in caplog.text
