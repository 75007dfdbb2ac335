# SPDX-License-Identifier: Apache-2.0
import asyncio
import gc
import json
import logging
import socket
import ssl
import warnings
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest

from amphora.server.listener import open_listener
from amphora.server.settings import ServerSettings
from amphora.server.tls import build_context
from amphora.server.tls_protocol import TlsProtocol
from amphora.testing.pki import Pki


def names_app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [])
    return [json.dumps(environ["amphora.peer_names"]).encode()]


def refused(server: Any, context: ssl.SSLContext) -> str:
    """Try to speak; return the alert the client is told."""
    with pytest.raises(ssl.SSLError) as caught:
        server.get(context=context)
    return str(caught.value.reason)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_names_of_the_peer_reach_the_application(serve: Any, version: ssl.TLSVersion) -> None:
    server = serve(names_app)
    context = server.pki.client_context(server.pki.client("controller", "other.example.com"), version)

    for _ in range(3):  # TLS 1.2 tickets must not lose them
        assert json.loads(server.get(context=context)) == ["controller", "other.example.com"]


@pytest.mark.parametrize(
    ("version", "alert"),
    [
        (ssl.TLSVersion.TLSv1_2, "SSLV3_ALERT_HANDSHAKE_FAILURE"),
        (ssl.TLSVersion.TLSv1_3, "TLSV13_ALERT_CERTIFICATE_REQUIRED"),
    ],
)
def test_client_without_certificate_is_told_so(
    serve: Any, app: Any, caplog: pytest.LogCaptureFixture, version: ssl.TLSVersion, alert: str
) -> None:
    caplog.set_level(logging.INFO)
    server = serve()

    assert refused(server, server.pki.client_context(None, version)) == alert
    assert server.get() == b"nothing"
    assert len(app.calls) == 1
    assert "TLS handshake with 127.0.0.1 failed: peer did not return a certificate" in caplog.messages


def test_client_of_another_authority_is_refused(
    serve: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server = serve(optional=True)
    (tmp_path / "other").mkdir()
    foreign = Pki(tmp_path / "other", name="other CA").client("controller")
    context = server.pki.client_context(None)
    context.load_cert_chain(foreign.path)

    assert refused(server, context) == "TLSV1_ALERT_UNKNOWN_CA"
    assert server.get() == b"nothing"
    assert any("failed: client certificate refused: " in message for message in caplog.messages)


def test_optional_mode_tells_that_nobody_vouches_for_the_client(serve: Any) -> None:
    server = serve(names_app, optional=True)

    assert json.loads(server.get(context=server.pki.client_context(None))) is None
    assert json.loads(server.get()) == ["controller"]


def test_tls_1_1_is_refused(serve: Any) -> None:
    server = serve()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context = server.pki.client_context(server.pki.client(), ssl.TLSVersion.TLSv1_1)
    context.set_ciphers("ALL:@SECLEVEL=0")

    assert refused(server, context) == "TLSV1_ALERT_PROTOCOL_VERSION"


def test_cbc_ciphers_are_refused(serve: Any) -> None:
    server = serve()
    context = server.pki.client_context(server.pki.client(), ssl.TLSVersion.TLSv1_2)
    context.set_ciphers("ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES256-SHA")

    assert refused(server, context) == "SSLV3_ALERT_HANDSHAKE_FAILURE"


def test_failed_handshakes_print_no_traceback(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    server = serve()
    caplog.set_level(logging.INFO)
    refused(server, server.pki.client_context(None))
    server.plain().close()
    server.get()

    assert all(record.exc_info is None for record in caplog.records)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_failed_handshakes_leave_nothing_to_the_collector(serve: Any) -> None:
    server = serve()
    gc.collect()
    gc.disable()
    try:
        before = weakref.WeakSet(live_protocols())
        for _ in range(5):
            refused(server, server.pki.client_context(None))
        server.get()
        server.server.stop()
        server.wait()
        assert [protocol for protocol in live_protocols() if protocol not in before] == []
    finally:
        gc.enable()


def live_protocols() -> list[TlsProtocol]:
    return [thing for thing in gc.get_objects() if isinstance(thing, TlsProtocol)]


def test_connection_given_up_before_it_began_is_closed(serve: Any) -> None:
    server = serve()
    context = build_context(server.pki.server().path, server.pki.ca_path, ssl.TLSVersion.TLSv1_2)

    async def give_up(listener: socket.socket) -> bytes:
        loop = asyncio.get_running_loop()
        client = socket.create_connection(listener.getsockname(), timeout=5)
        accepted, _ = listener.accept()
        accepted.setblocking(False)
        over: asyncio.Future[None] = loop.create_future()
        protocol = TlsProtocol(
            context, ServerSettings("127.0.0.1", 0), lambda _: pytest.fail("welcome"), over
        )
        protocol.abort()
        await loop.connect_accepted_socket(lambda: protocol, accepted)
        await asyncio.wait_for(over, 5)
        with client:
            return client.recv(1)

    with open_listener("127.0.0.1", 0) as listener:
        assert asyncio.run(give_up(listener)) == b""
