# SPDX-License-Identifier: Apache-2.0
import socket
import time

import pytest

from amphora.errors import ControlSocketError
from amphora.haproxy.control.control_socket import ask


def test_the_whole_answer_is_returned(scripted_socket):
    answer = "x" * 300_000 + "é\n"
    server = scripted_socket(answer)
    assert ask(server.path, "show stat", 5) == answer
    assert server.commands == ["show stat"]


def test_a_missing_socket_is_named(short_dir):
    with pytest.raises(ControlSocketError, match="gone.sock does not exist"):
        ask(short_dir / "gone.sock", "show info", 1)


def test_a_socket_left_behind_is_told_from_a_missing_one(short_dir):
    path = short_dir / "stale.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    with pytest.raises(ControlSocketError, match="no process listens"):
        ask(path, "show info", 1)


def test_an_answer_beyond_the_limit_is_refused(scripted_socket):
    with pytest.raises(ControlSocketError, match="more than 10 bytes"):
        ask(scripted_socket("x" * 11).path, "show stat", 5, limit=10)


def test_no_answer_at_all_is_an_error(scripted_socket):
    with pytest.raises(ControlSocketError, match="closed the connection without an answer"):
        ask(scripted_socket("").path, "show info", 5)


def test_a_path_too_long_is_an_error(short_dir):
    with pytest.raises(ControlSocketError, match="too long"):
        ask(short_dir / ("x" * 200), "show info", 1)


def test_a_silent_process_costs_the_time_limit(short_dir):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(short_dir / "silent.sock"))
        listener.listen()
        began = time.monotonic()
        with pytest.raises(ControlSocketError, match="did not answer 'show info' within 0.1 s"):
            ask(short_dir / "silent.sock", "show info", 0.1)
    assert time.monotonic() - began < 2


def test_the_time_limit_is_for_the_whole_answer(scripted_socket):
    def trickle(_command):
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            yield "x"
            time.sleep(0.01)

    server = scripted_socket(trickle)
    began = time.monotonic()
    with pytest.raises(ControlSocketError, match=r"within 0\.2 s"):
        ask(server.path, "show stat", 0.2)
    assert time.monotonic() - began < 0.9
