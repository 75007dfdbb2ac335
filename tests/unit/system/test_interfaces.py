# SPDX-License-Identifier: Apache-2.0
import threading
import time
from ipaddress import ip_interface

from amphora.system.interfaces import interfaces, wait_for_link_event


def test_loopback_is_there():
    loopback = next(each for each in interfaces() if each.name == "lo")
    assert loopback.up
    assert loopback.mac_address == ""
    assert ip_interface("127.0.0.1/8") in loopback.addresses


def test_an_answer_at_once_needs_no_event():
    assert wait_for_link_event(lambda: 5, timeout=0) == 5


def test_without_an_answer_the_time_limit_holds():
    begun = time.monotonic()
    assert wait_for_link_event(lambda: None, timeout=0.1) is None
    assert 0.1 <= time.monotonic() - begun < 2


def test_reading_from_many_threads_gives_the_same():
    # Other namespaces' tests run beside this one, but loopback of our own does not change.
    seen = []

    def read():
        seen.append([each for each in interfaces() if each.name == "lo"])

    threads = [threading.Thread(target=read) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 20
    assert all(each == seen[0] for each in seen)
