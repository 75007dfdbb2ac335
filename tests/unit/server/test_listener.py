# SPDX-License-Identifier: Apache-2.0
import socket
from collections.abc import Iterable
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest

from amphora.errors import ConfigurationError
from amphora.server.listener import open_listener


def remote_address_app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [])
    return [environ["REMOTE_ADDR"].encode()]


@pytest.mark.parametrize("client", ["127.0.0.1", "::1"])
def test_wildcard_serves_both_families(serve: Any, client: str) -> None:
    server = serve(remote_address_app, host="::")
    server.address = (client, server.address[1])

    assert server.get() == client.encode()


def test_single_ipv6_address_is_not_dual_stack(serve: Any) -> None:
    server = serve(host="::1")

    assert server.get() == b"nothing"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.address[1]), timeout=5)


def test_taken_port_is_explained() -> None:
    with open_listener("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(ConfigurationError) as caught:
            open_listener("127.0.0.1", port)

    assert caught.value.details == f"Cannot listen on 127.0.0.1 port {port}: Address already in use"


@pytest.mark.parametrize("host", ["192.0.2.1", "www.example.com"])
def test_address_of_somebody_else_is_explained(host: str) -> None:
    with pytest.raises(ConfigurationError, match=f"Cannot listen on {host} port 0: "):
        open_listener(host, 0)


def test_connections_do_not_wait_for_full_segments(serve: Any) -> None:
    """asyncio sets TCP_NODELAY only on sockets that name their protocol; else answers take 40 ms."""
    with open_listener("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP
