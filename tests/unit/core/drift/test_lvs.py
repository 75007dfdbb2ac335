# SPDX-License-Identifier: Apache-2.0
"""Drift of LVS listeners, by all of the core over a fake process manager."""

from dataclasses import replace

import pytest

from amphora.models import DriftReason, RestartPolicy
from tests.support.core import CoreRig
from tests.support.lvs import LISTENER, with_members

OLD, NEW = with_members(1), with_members(1, 2)


@pytest.fixture
def rig(memory_dir):
    rig = CoreRig(memory_dir)
    rig.lvs(LISTENER).upload(OLD)
    rig.lvs(LISTENER).start()
    return rig


@pytest.fixture
def layout(rig):
    return rig.lvs(LISTENER).files


def told(rig):
    """Return reasons and pending ones of the listener."""
    result = rig.services.drift.check()
    assert result.unchecked == {}
    return [
        {each.difference.reason for each in found if LISTENER in each.difference.subject}
        for found in (result.drift, result.pending)
    ]


def inspector(rig, group):
    """Return what heals a listener for a group."""
    drift = rig.services.drift
    return next(each for each in drift._inspectors if each.group == group and LISTENER in each.targets())


def test_what_the_agent_does_is_no_drift(rig):
    assert told(rig) == [set(), set()]
    rig.lvs(LISTENER).upload(NEW)
    assert told(rig) == [set(), {DriftReason.PENDING_RELOAD}]
    rig.lvs(LISTENER).reload()
    assert told(rig) == [set(), set()]
    rig.lvs(LISTENER).stop()
    assert told(rig) == [set(), set()]
    rig.lvs(LISTENER).delete()
    assert told(rig) == [set(), set()]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("stored", NEW, DriftReason.STORED_EDITED),
        ("stored", None, DriftReason.STORED_MISSING),
        ("running", NEW, DriftReason.RUNNING_EDITED),
        ("running", None, DriftReason.RUNNING_MISSING),
    ],
)
def test_a_file_that_somebody_has_changed_is_told_and_healed(rig, layout, name, content, reason):
    assert told(rig) == [set(), set()]
    path = getattr(layout, name)
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    assert told(rig) == [{reason}, set()]
    found = [each.difference for each in rig.services.drift.result().drift]
    assert inspector(rig, "configs").heal(LISTENER, found)
    assert told(rig) == [set(), set()]
    assert (layout.stored.read_bytes(), layout.running.read_bytes()) == (OLD, OLD)


def test_a_proven_configuration_that_was_edited_is_told(rig, layout):
    assert told(rig) == [set(), set()]
    layout.proven.write_bytes(NEW)
    assert DriftReason.PROVEN_EDITED in told(rig)[0]


def test_a_keepalived_that_has_ended_is_told_and_started(rig, layout):
    assert inspector(rig, "services").inspect(LISTENER) == []
    specs, name = rig.processes.machine.specs, layout.service_name
    specs[name] = replace(specs[name], restart=RestartPolicy(on_crash=False))
    rig.processes.crash(name)
    (found,) = inspector(rig, "services").inspect(LISTENER)
    assert (found.subject, found.reason) == (name, DriftReason.SERVICE_FAILED)
    assert inspector(rig, "services").heal(LISTENER, [found])
    assert inspector(rig, "services").inspect(LISTENER) == []
