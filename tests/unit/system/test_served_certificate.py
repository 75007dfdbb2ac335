# SPDX-License-Identifier: Apache-2.0
import contextlib
import socket
import ssl
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.system.served_certificate import plain_certificate, served_certificate, unverified_context
from amphora.testing.pki import Pki


@pytest.fixture
def server():
    """Serve TLS by a context, and tell whether handshakes were completed; returns (port, outcomes)."""
    with contextlib.ExitStack() as stack:

        def serve(context, preamble=b""):
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            outcomes = []

            def answer():
                connection, _ = listener.accept()
                with connection:
                    try:
                        assert connection.recv(len(preamble)) == preamble if preamble else True
                        context.wrap_socket(connection, server_side=True).close()
                        outcomes.append("completed")
                    except OSError as error:
                        outcomes.append(type(error).__name__)

            thread = threading.Thread(target=answer, daemon=True)
            thread.start()
            stack.callback(thread.join, 5)
            return listener.getsockname()[1], outcomes, thread

        yield serve


def server_context(credential):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(credential.path)
    return context


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("client_certificate", [False, True])
def test_the_certificate_is_seen_and_the_handshake_left(short_dir, server, version, client_certificate):
    pki = Pki(short_dir)
    credential = pki.server("a.example")
    context = server_context(credential)
    context.minimum_version = context.maximum_version = version
    if client_certificate:
        context.load_verify_locations(pki.ca_path)
        context.verify_mode = ssl.CERT_REQUIRED
    port, outcomes, thread = server(context, b"hello")
    served = served_certificate("127.0.0.1", port, 5, unverified_context(), preamble=b"hello")
    assert served == ssl.PEM_cert_to_DER_cert(credential.certificate_pem.decode())
    thread.join(5)
    assert outcomes
    assert outcomes[0] != "completed"


def test_another_group_asks_for_a_second_hello(short_dir, server):
    context = server_context(Pki(short_dir).server("a.example"))
    context.set_ecdh_curve("secp521r1")
    port, _, _ = server(context)
    assert served_certificate("127.0.0.1", port, 5, unverified_context())


def test_a_server_is_asked_by_name(short_dir, server):
    names = []
    context = server_context(Pki(short_dir).server("a.example"))
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    port, _, _ = server(context)
    served_certificate("127.0.0.1", port, 5, unverified_context(), server_name="a.example")
    assert names == ["a.example"]


def test_silence_and_closed_connections_are_errors():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with pytest.raises(TimeoutError):
            served_certificate("127.0.0.1", silent.getsockname()[1], 0.1, unverified_context())
        port = silent.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        served_certificate("127.0.0.1", port, 1, unverified_context())


def record(body, kind=22):
    return bytes([kind, 3, 3]) + len(body).to_bytes(2) + body


def certificates(*ders):
    body = b"".join(len(der).to_bytes(3) + der for der in ders)
    message = len(body).to_bytes(3) + body
    return b"\x0b" + len(message).to_bytes(3) + message


@given(
    st.binary(min_size=1, max_size=400), st.binary(max_size=40), st.integers(1, 200), st.binary(max_size=9)
)
def test_a_certificate_in_the_clear_is_found_however_it_is_cut(der, hello, size, tail):
    stream = b"\x02" + len(hello).to_bytes(3) + hello + certificates(der, b"chain")
    records = b"".join(record(stream[at : at + size]) for at in range(0, len(stream), size))
    assert plain_certificate(records + tail) == der
    for cut in (1, len(records) // 2, len(records) - 1):
        assert plain_certificate(records[:cut]) in (None, der)


@given(st.binary(max_size=300))
def test_odd_bytes_never_raise(data):
    plain_certificate(data)
    plain_certificate(record(data))
