# SPDX-License-Identifier: Apache-2.0
import threading

import pytest

from amphora.core.changes.locks import InstanceLocks
from amphora.errors import Busy


def test_one_instance_is_changed_by_one_at_a_time():
    locks = InstanceLocks(timeout=0.05)
    entered, leave = threading.Event(), threading.Event()

    def hold():
        with locks.hold("a"):
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    entered.wait(10)
    with pytest.raises(Busy, match="a has been running"), locks.hold("a"):
        pytest.fail("entered while another held it")
    leave.set()
    thread.join()
    with locks.hold("a"):
        pass


def test_different_instances_do_not_wait_for_each_other():
    locks = InstanceLocks(timeout=0.05)
    with locks.hold("a"), locks.hold("b"):
        pass


def test_an_error_inside_releases_the_lock():
    locks = InstanceLocks(timeout=0.05)
    with pytest.raises(ValueError, match="inside"), locks.hold("a"):
        raise ValueError("inside")
    with locks.hold("a"):
        pass


def test_locks_nobody_holds_are_forgotten():
    locks = InstanceLocks()
    for number in range(100):
        with locks.hold(str(number)):
            pass
    assert not locks._locks


def test_a_look_is_disturbed_by_a_change_before_and_one_meanwhile():
    locks = InstanceLocks()
    with locks.observe("one") as calm:
        with locks.hold("two"):
            pass
        assert not calm.changed
        with locks.hold("one"):
            pass
    assert calm.changed
    with locks.hold("one"), locks.observe("one") as late:
        assert late.changed
    with locks.observe("one") as after:
        assert not after.changed


def test_observers_are_told_of_both_ends_of_a_change_even_if_it_fails():
    told = []

    class Observer:
        def begins(self, name):
            told.append(("begins", name))

        def ends(self, name):
            told.append(("ends", name))

    locks = InstanceLocks()
    locks.notify(Observer())
    with pytest.raises(ZeroDivisionError), locks.hold("one"):
        told.append(1 / len(told[1:]))
    assert told == [("begins", "one"), ("ends", "one")]
