# SPDX-License-Identifier: Apache-2.0
import queue

import pytest

from amphora.errors import ServiceError
from amphora.testing.conformance_reasons import BlockedTooLong, promise, reason


def caught(function):
    try:
        function()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def raiser(error):
    def a_driver():
        raise error

    return a_driver


@pytest.mark.parametrize(
    ("test", "words"),
    [
        ("test_stop_may_be_repeated", "stop may be repeated"),
        ("test_vip_is_used_at_once[dual]", "vip is used at once (dual)"),
        ("test_fault[v4-done]", "fault (v4-done)"),
    ],
)
def test_names_of_tests_are_promises(test, words):
    assert promise(test) == words


def test_an_error_of_a_driver_is_told_with_its_place():
    told = reason(caught(raiser(ServiceError("no room\nfor it"))))
    assert told.startswith("ServiceError: no room for it (in a_driver() at test_conformance_reasons.py:")


def test_what_blocked_is_told_by_the_drivers_own_place():
    def a_driver():
        waiting = queue.Queue()
        waiting.get = lambda: (_ for _ in ()).throw(BlockedTooLong("blocked longer than 2 s"))
        waiting.get()

    assert reason(caught(a_driver)).startswith("blocked longer than 2 s (in ")


def test_a_missing_error_is_told_by_its_name():
    def without():
        with pytest.raises(ServiceError):
            pass

    assert reason(caught(without)) == "ServiceError was not raised, although the contract says it is"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("remove() left a file\nassert not ['x']", "remove() left a file"),
        ("assert 1 == 2\n +  where 1 = f()", "not true: 1 == 2 + where 1 = f()"),
    ],
)
def test_assertions_are_told_by_message_or_by_values(text, told):
    assert reason(AssertionError(text)) == told


def test_an_assertion_without_words_is_told_by_its_place():
    told = reason(caught(raiser(AssertionError())))
    assert told.startswith("not as promised (in a_driver() at test_conformance_reasons.py:")


@pytest.mark.parametrize(
    ("phase", "start"), [("setup", "before the test itself: "), ("teardown", "while cleaning up: ")]
)
def test_phases_around_a_test_are_named(phase, start):
    assert reason(AssertionError("bad"), phase) == f"{start}bad"


def test_a_long_reason_is_cut():
    told = reason(AssertionError("x" * 5000))
    assert len(told) == 500
    assert told.endswith("…")
