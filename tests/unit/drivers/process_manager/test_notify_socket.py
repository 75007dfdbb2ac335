# SPDX-License-Identifier: Apache-2.0

import select
import shutil
import socket
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.drivers.process_manager.notify_socket import Notification, NotifySocket, parse_notification
from amphora.errors import ServiceError


@pytest.fixture
def path():
    directory = Path(tempfile.mkdtemp(prefix="amp-", dir="/tmp"))
    yield directory / "notify"
    shutil.rmtree(directory)


def send(path, message):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(message, str(path))


@pytest.mark.parametrize(
    ("message", "meaning"),
    [
        (b"READY=1", Notification(ready=True)),
        (b"STATUS=Loading\nREADY=1\nMAINPID=42\n", Notification(True, 42, "Loading")),
        (b"RELOADING=1", Notification()),
        (b"READY=0", Notification()),
        (b"READY", Notification()),
        (b"MAINPID=0", Notification()),
        (b"MAINPID=-1", Notification()),
        (b"MAINPID=\xb2", Notification()),
        (b"STATUS=a=b", Notification(status="a=b")),
        (b"", Notification()),
    ],
)
def test_messages(message, meaning):
    assert parse_notification(message) == meaning


@pytest.mark.parametrize(
    ("message", "has_started"),
    [
        (b"READY=1\nMAINPID=7\nSTATUS=Ready.\n", True),
        (b"READY=1\nSTATUS=Reload failed!\n", False),
        (b"READY=1\nSTATUS=Failed to start up: no such file\nERRNO=2", False),
        (b"READY=1\nSTATUS=unfailing\n", True),
        (b"STATUS=Ready.\n", False),
    ],
)
def test_a_report_of_failure_is_no_start(message, has_started):
    assert parse_notification(message).has_started is has_started


@given(st.binary())
def test_any_message_can_be_read(message):
    notification = parse_notification(message)
    assert notification.main_pid is None or notification.main_pid > 0
    if notification.ready:
        assert b"READY=1" in message.split(b"\n")


@given(
    st.integers(1, 999_999_999), st.text(st.characters(exclude_characters="\n", exclude_categories=("Cs",)))
)
def test_what_is_said_is_understood(pid, status):
    message = f"READY=1\nMAINPID={pid}\nSTATUS={status}".encode()
    assert parse_notification(message) == Notification(True, pid, status)


def test_message_makes_the_socket_readable(path):
    with NotifySocket.bound_to(path) as notify:
        assert notify.receive() == Notification()
        send(path, b"READY=1")
        assert select.select([notify], [], [], 5)[0] == [notify]
        assert notify.receive() == Notification(ready=True)


def test_later_senders_fail_at_once(path):
    with NotifySocket.bound_to(path):
        pass
    with pytest.raises(FileNotFoundError):
        send(path, b"READY=1")


def test_leftover_socket_is_replaced(path):
    path.write_text("")
    with NotifySocket.bound_to(path) as notify:
        send(path, b"READY=1")
        assert notify.receive().ready


def test_path_that_is_too_long_is_reported(path):
    with pytest.raises(ServiceError, match="too long"), NotifySocket.bound_to(path.with_name("x" * 120)):
        pass
