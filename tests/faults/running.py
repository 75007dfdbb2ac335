# SPDX-License-Identifier: Apache-2.0
"""Runs one cell of the matrix and judges what is the case after it."""

from __future__ import annotations

from tests.faults.rig import eventually

DONE, UNDONE, FAILED = "done", "undone", "failed"
#: Of what is gone nothing is told.
FORGOTTEN = "forgotten"


def run_cell(rig, scenario, cell):
    """Let a change meet its fault, and see that the old or the new is there, whole, and told truthfully."""
    lost = len(rig.lost)
    scenario.prepare()
    rig.order(scenario, cell)
    answer = rig.attempt(scenario.change)
    assert rig.was_struck(), f"the fault was not met: {answer and answer.body}"
    if cell.fault == "killed":
        assert rig.agent.wait(30) == -9
        rig.restart()
    problems = eventually(lambda: judge(rig, scenario, cell, answer))
    assert not problems, (problems, told(answer), rig.reported(scenario), rig.log())
    rig.lift()
    if cell.is_of_disk or cell.may_fail:
        before, change = scenario.state(), rig.reported(scenario)
        rig.restart()
        problems = eventually(lambda: judge_restarted(rig, scenario, before, change))
        assert not problems, ("restarted", problems, rig.reported(scenario), rig.log())
    assert scenario.repeat() == ""
    problems = eventually(lambda: settled(scenario, scenario.new))
    assert not problems, ("repeated", problems, rig.log())
    scenario.clean()
    assert rig.lost[lost:] == []


def judge(rig, scenario, cell, answer):
    """Return what is wrong, while the fault is still there."""
    said = reported_state(rig, scenario)
    problems = [] if answer is None else contradictions(cell, scenario, answer, said)
    if said == FAILED:
        # It goes on as well as it can; the next start puts it in order.
        return problems + ended_badly(scenario)
    if cell.is_of_disk:
        # Nothing can be removed from such a disk.
        return problems + unexpected(scenario, expected(scenario, said))
    return problems + settled(scenario, expected(scenario, said))


def judge_restarted(rig, scenario, before, change):
    """Return what is wrong after the fault was taken away and another agent began.

    That agent may have made a change of the same kind to settle the one that is judged.
    """
    said = reported_state(rig, scenario, change["id"] if change else None)
    if said == FAILED and scenario.failure_stays:
        return unexpected(scenario, {before})
    if said not in (DONE, UNDONE, FORGOTTEN):
        return [f"it is told to be {said}"]
    return settled(scenario, expected(scenario, said))


def reported_state(rig, scenario, identity=None):
    """Return what the agent tells of a change or, where it knows none of that id, of the last such one."""
    journalled = rig.reported(scenario, identity)
    return journalled["state"] if journalled else FORGOTTEN


def expected(scenario, said):
    """Return the states that a report allows."""
    if said == FORGOTTEN:
        return scenario.old | scenario.new
    return scenario.new if said == DONE else scenario.old


def contradictions(cell, scenario, answer, said):
    """Return where the answer and the journal do not tell the same."""
    if (answer.status < 300) != (said in (DONE, FORGOTTEN)):
        return [f"answered {answer.status}, told to be {said}"]
    if said == FAILED and not (cell.may_fail or scenario.may_fail or cell.is_of_disk):
        return ["it could not be undone"]
    return []


def ended_badly(scenario):
    """Return what is wrong after a change that could neither be made nor undone."""
    return unexpected(scenario, scenario.old | scenario.new | scenario.halfway)


def unexpected(scenario, states):
    """Return the state if it is none of those expected."""
    state = scenario.state()
    return [] if state in states else [f"stored and served {state}, expected one of {states}"]


def settled(scenario, states):
    """Return what is wrong where nothing is under way any more."""
    return unexpected(scenario, states) + scenario.incomplete()


def told(answer):
    """Return an answer in short."""
    return None if answer is None else (answer.status, answer.body.decode())
