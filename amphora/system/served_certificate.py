# SPDX-License-Identifier: Apache-2.0
"""Inspects the certificate that a TLS server presents, and leaves before the handshake is complete.

The certificate comes with the server's first messages: in the clear up to TLS 1.2 (RFC 5246, section 7.4.2),
encrypted for a client that has not yet finished in TLS 1.3 (RFC 8446, section 4.4.2). A
server counts no session for a client that then goes away, and asks for its certificate in vain.
"""

from __future__ import annotations

import socket
import ssl
import struct
import time

_LINGER_ZERO = struct.pack("ii", 1, 0)
_CHUNK = 64 * 1024
#: No chain of certificates is as long as this.
_LIMIT = 512 * 1024
_RECORD = struct.Struct("!BHH")
_HANDSHAKE, _CERTIFICATE = 22, 11

#: PROXY protocol, version 2, LOCAL: a connection by the proxy itself, not for a client.
PROXY_LOCAL = b"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"


def unverified_context() -> ssl.SSLContext:
    """Return a client's context that takes any certificate."""
    # What is presented is compared with what is stored, so trust and strength are not the question.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    return context


def served_certificate(
    host: str,
    port: int,
    timeout: float,
    context: ssl.SSLContext,
    *,
    server_name: str | None = None,
    preamble: bytes = b"",
) -> bytes:
    """Return the certificate (DER) that a server on this machine presents, trusted or not.

    :param timeout: seconds for all of it.
    :param context: of :func:`unverified_context`; one may serve many threads.
    :param server_name: asked for by name (RFC 6066, section 3), or None.
    :param preamble: sent before the handshake, such as :data:`PROXY_LOCAL`.
    :raises OSError: it was not reached, took too long, or would not go on; ssl.SSLError is one.
    """
    deadline = time.monotonic() + timeout
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context.wrap_bio(incoming, outgoing, server_hostname=server_name)
    seen = bytearray()
    with socket.create_connection((host, port), timeout) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        connection.sendall(preamble)
        while True:
            certificate = _advance(session) or plain_certificate(seen)
            if certificate:
                return certificate
            connection.sendall(outgoing.read())
            connection.settimeout(max(0.001, deadline - time.monotonic()))
            chunk = connection.recv(_CHUNK)
            if not chunk or len(seen) > _LIMIT:
                raise ConnectionAbortedError("the server closed the connection before its certificate")
            seen += chunk
            incoming.write(chunk)


def plain_certificate(data: bytes | bytearray) -> bytes | None:
    """Return the first certificate in a server's first records, or None while none is there in the clear."""
    messages = _handshake_messages(bytes(data))
    at = 0
    while at + 4 <= len(messages):
        length = int.from_bytes(messages[at + 1 : at + 4])
        body = messages[at + 4 : at + 4 + length]
        if len(body) < length:
            return None
        if messages[at] == _CERTIFICATE:
            size = int.from_bytes(body[3:6])
            return body[6 : 6 + size] if 0 < size <= len(body) - 6 else None
        at += 4 + length
    return None


def _advance(session: ssl.SSLObject) -> bytes | None:
    try:
        session.do_handshake()
    except ssl.SSLWantReadError:
        return None
    return session.getpeercert(binary_form=True)


def _handshake_messages(data: bytes) -> bytes:
    """Return what the leading records of the handshake hold; they are in the clear."""
    messages, at = bytearray(), 0
    while at + _RECORD.size <= len(data):
        kind, _, length = _RECORD.unpack_from(data, at)
        if kind != _HANDSHAKE:
            break
        messages += data[at + _RECORD.size : at + _RECORD.size + length]
        at += _RECORD.size + length
    return bytes(messages)
