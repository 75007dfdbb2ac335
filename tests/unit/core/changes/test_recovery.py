# SPDX-License-Identifier: Apache-2.0
import pytest

from amphora.core.changes.recovery import Recovery
from amphora.errors import OperationFailed


def fail():
    raise OperationFailed("eth1: no link")


def test_steps_are_taken_in_order_and_kept(caplog):
    taken = []
    recovery = Recovery()
    recovery.take("interfaces", fail)
    recovery.take("services", lambda: taken.append("services"))
    assert [(step.name, step.problem) for step in recovery.steps] == [
        ("interfaces", "eth1: no link"),
        ("services", ""),
    ]
    assert taken == ["services"]
    assert "interfaces is not complete: eth1: no link" in caplog.text


def test_a_defect_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        Recovery().take("interfaces", lambda: 1 / 0)
