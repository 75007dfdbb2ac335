# SPDX-License-Identifier: Apache-2.0
"""The endpoint and its fetching side, over real sockets."""

import socket
import threading

import pytest

from amphora.errors import OperationFailed
from amphora.prometheus.exporter import fetch
from amphora.prometheus.server import MetricsServer


class Exporter:
    """Answers one connection with fixed bytes."""

    def __init__(self, answer):
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = self._socket.getsockname()
        self._thread = threading.Thread(target=self._serve, args=(answer,))
        self._thread.start()

    def _serve(self, answer):
        connection, _ = self._socket.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(answer)

    def close(self):
        self._thread.join()
        self._socket.close()


def fetched(answer):
    exporter = Exporter(answer)
    try:
        return list(fetch(exporter.address, 5.0))
    finally:
        exporter.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\na b\r\n4;x=y\r\n\ncd\n\r\n2\r\nef\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\na b\ncd\nef",
    ],
)
def test_lines_come_whole(answer):
    assert fetched(answer) == ["a b", "cd", "ef"]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 503 Service Unavailable\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 300_000,
    ],
)
def test_metrics_that_are_none_or_not_complete(answer):
    with pytest.raises(OperationFailed):
        fetched(answer)


def test_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = closed.getsockname()
    with pytest.raises(OperationFailed, match="refused"):
        list(fetch(address, 5.0))


@pytest.fixture
def serving():
    """A function that serves what it is given and returns a function that asks."""
    servers = []

    def serve(metrics):
        server = MetricsServer(("127.0.0.1", 0), metrics)
        thread = threading.Thread(target=server.serve)
        thread.start()
        servers.append((server, thread))

        def ask(request=b"GET / HTTP/1.1\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", server.port), 10) as connection:
                connection.sendall(request)
                with connection.makefile("rb") as stream:
                    head, _, body = stream.read().partition(b"\r\n\r\n")
            return head.decode().splitlines(), body.decode()

        return ask

    yield serve
    for server, thread in servers:
        server.close()
        server.close()
        thread.join()


def broken_after(*lines):
    yield from lines
    raise OperationFailed("haproxy's metrics end in the middle")


def test_any_get_is_answered(serving):
    ask = serving(lambda: iter(["a 1", "b 2"]))
    for path in (b"/", b"/metrics", b"/x?y"):
        head, body = ask(b"GET " + path + b" HTTP/1.1\r\nhost: x\r\n\r\n")
        assert head == [
            "HTTP/1.1 200 OK",
            "content-type: text/plain; version=0.0.4",
            "cache-control: no-cache",
            "connection: close",
        ]
        assert body == "a 1\nb 2\n"
    assert ask(b"HEAD / HTTP/1.1\r\n\r\n")[1] == ""
    assert ask(b"POST / HTTP/1.1\r\n\r\n")[0][0] == "HTTP/1.1 405 Method Not Allowed"


def test_many_metrics(serving):
    lines = [f"metric_{number} 1" for number in range(20_000)]
    assert serving(lambda: iter(lines))()[1].splitlines() == lines


def test_a_haproxy_that_gives_none_is_a_bad_gateway(serving):
    ask = serving(broken_after)
    for _ in range(2):
        assert ask()[0][0] == "HTTP/1.1 502 Bad Gateway"


def test_half_of_the_metrics_do_not_pass_for_all(serving):
    ask = serving(lambda: broken_after(*(f"metric_{number} 1" for number in range(20_000))))
    with pytest.raises(ConnectionResetError):
        ask()
