# SPDX-License-Identifier: Apache-2.0
import queue
import threading
import time

import pytest

from amphora.system.notify import Watchdog


@pytest.fixture
def watch():
    started = []

    def start(check, interval):
        signs = queue.Queue()
        watchdog = Watchdog(check, interval, lambda: signs.put(time.monotonic()))
        started.append(watchdog)
        watchdog.start()
        return watchdog, signs

    yield start
    for watchdog in started:
        watchdog.stop()


def test_signs_of_life_come_at_once_and_twice_in_the_interval(watch):
    _, signs = watch(lambda _limit: None, 0.4)
    times = [signs.get(timeout=20) for _ in range(4)]
    gaps = [later - earlier for earlier, later in zip(times, times[1:], strict=False)]
    assert all(gap >= 0.19 for gap in gaps)


def test_a_check_has_a_part_of_the_interval(watch):
    limits = queue.Queue()
    watch(limits.put, 8.0)
    assert limits.get(timeout=20) == 2.0


def test_a_failing_check_gives_no_sign_and_is_repeated_soon(watch, caplog):
    caplog.set_level("WARNING")
    checks = queue.Queue()
    healthy = threading.Event()

    def check(_limit):
        checks.put(True)
        if not healthy.is_set():
            raise RuntimeError("nobody accepts")

    _, signs = watch(check, 1.0)
    for _ in range(3):
        checks.get(timeout=20)
    assert signs.empty()
    healthy.set()
    signs.get(timeout=20)
    assert "does not respond, and the service manager will restart it: nobody accepts" in caplog.text


def test_a_stopped_one_is_silent(watch):
    watchdog, signs = watch(lambda _limit: None, 60.0)
    signs.get(timeout=20)
    watchdog.stop()
    watchdog._thread.join(timeout=20)
    assert not watchdog._thread.is_alive()
    assert signs.empty()
