# SPDX-License-Identifier: Apache-2.0
import errno
import select
import socket
import time

import pytest

from amphora.system import quiet_connect as quiet_connect_module
from amphora.system.quiet_connect import Answer, quiet_connect


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_listener_answers_and_never_gets_a_connection(host):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as server:
        port = server.getsockname()[1]
        quiet = [quiet_connect(host, port, 5) for _ in range(20)]
        assert all(answer.reached for answer in quiet)
        accepted = 0
        while select.select([server], [], [], 0.05)[0]:
            server.accept()[0].close()
            accepted += 1
        # Only a caller that was held up completes a handshake, and then it knows.
        assert accepted == sum(answer.noticed for answer in quiet)


def test_a_caller_that_was_held_up_knows_that_it_was_noticed(monkeypatch):
    outcome = quiet_connect_module._outcome

    def hesitate(probe, timeout):
        # The kernel completes the handshake by itself after 200 ms.
        select.select([server], [], [], 5)
        return outcome(probe, timeout)

    monkeypatch.setattr(quiet_connect_module, "_outcome", hesitate)
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert quiet_connect("127.0.0.1", server.getsockname()[1], 5) == Answer(0, noticed=True)


def test_a_closed_port_refuses():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    answer = quiet_connect("127.0.0.1", port, 5)
    assert (answer.reached, answer.error, answer.reason) == (False, errno.ECONNREFUSED, "Connection refused")


def test_a_full_queue_times_out():
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, socket.socket() as client:
        client.connect(server.getsockname())
        began = time.monotonic()
        answer = quiet_connect("127.0.0.1", server.getsockname()[1], 0.1)
        assert answer.error == errno.ETIMEDOUT
        assert time.monotonic() - began >= 0.1


def test_an_address_that_cannot_be_reached_has_a_reason():
    assert not quiet_connect("255.255.255.255", 80, 0.1).reached
