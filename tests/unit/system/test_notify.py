# SPDX-License-Identifier: Apache-2.0
import os
import socket
import tempfile
from pathlib import Path

import pytest

from amphora.system import notify


@pytest.fixture
def channel(monkeypatch):
    with tempfile.TemporaryDirectory(prefix="amp-", dir="/tmp") as directory:
        path = Path(directory) / "notify"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
            receiver.bind(str(path))
            receiver.settimeout(5)
            monkeypatch.setenv("NOTIFY_SOCKET", str(path))
            yield receiver


def test_ready_and_stopping_are_sent_as_the_manual_says(channel):
    notify.notify_ready()
    assert channel.recv(100) == b"READY=1"
    notify.notify_stopping()
    assert channel.recv(100) == b"STOPPING=1"


def test_reloading_carries_the_monotonic_time(channel):
    notify.notify_reloading()
    first, second = channel.recv(100).decode().split("\n")
    assert first == "RELOADING=1"
    assert second.startswith("MONOTONIC_USEC=")
    assert int(second.partition("=")[2]) > 0


def test_without_a_manager_nothing_happens(monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify.notify_ready()


def test_a_manager_that_went_away_does_no_harm(monkeypatch, tmp_path):
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "none"))
    notify.notify_ready()


def test_a_sign_of_life_is_sent_as_the_manual_says(channel):
    notify.notify_alive()
    assert channel.recv(100) == b"WATCHDOG=1"


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "60000000"}, 60.0),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": str(os.getpid())}, 0.5),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_interval_is_read_as_the_manual_says(monkeypatch, environment, seconds):
    for name in ("WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert notify.watchdog_interval() == seconds
