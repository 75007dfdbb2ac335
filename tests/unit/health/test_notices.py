# SPDX-License-Identifier: Apache-2.0
import logging

from amphora.health.heartbeat import Notices


def test_a_condition_is_logged_when_it_begins_changes_and_ends(caplog):
    caplog.set_level(logging.INFO)
    notices = Notices(logging.getLogger("test"))
    for sentence in ("refused", "refused", "silent"):
        notices.say("a", sentence)
    notices.resolve("a")
    notices.resolve("a")
    assert [record.getMessage() for record in caplog.records] == ["a: refused", "a: silent", "a: recovered"]


def test_a_set_of_conditions_is_replaced(caplog):
    caplog.set_level(logging.INFO)
    notices = Notices(logging.getLogger("test"))
    notices.say("other", "stays")
    notices.replace("of ", {"x": "silent", "y": "silent"})
    notices.replace("of ", {"y": "silent"})
    assert [record.getMessage() for record in caplog.records] == [
        "other: stays",
        "of x: silent",
        "of y: silent",
        "of x: recovered",
    ]
