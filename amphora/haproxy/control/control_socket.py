# SPDX-License-Identifier: Apache-2.0
"""One command and its answer on a socket of haproxy (management guide, section 9.3)."""

from __future__ import annotations

import socket
import time
from pathlib import Path

from amphora.errors import ControlSocketError

#: Bytes of one answer. A statistics line has about 1 KB, so this is some thirty thousand servers.
ANSWER_LIMIT = 32 * 1024 * 1024

_CHUNK = 64 * 1024


def ask(path: Path, command: str, timeout: float, limit: int = ANSWER_LIMIT) -> str:
    """Send one command and return the whole answer. haproxy ends it by closing the connection.

    :param timeout: seconds for all of it, so that neither a stopped process nor one that answers a
        byte at a time can hold the caller.
    :raises ControlSocketError: no such socket, no listener, no complete answer in time, or an
        answer beyond the limit.
    """
    deadline = time.monotonic() + timeout
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
            connection.settimeout(timeout)
            connection.connect(str(path))
            connection.sendall(f"{command}\n".encode())
            # The master keeps the connection open for more commands until its client shuts it down.
            connection.shutdown(socket.SHUT_WR)
            answer = _read_to_end(connection, deadline, limit)
    except TimeoutError:
        raise ControlSocketError(f"{path} did not answer {command!r} within {timeout:g} s") from None
    except FileNotFoundError:
        raise ControlSocketError(f"{path} does not exist") from None
    except ConnectionRefusedError:
        raise ControlSocketError(f"{path}: no process listens") from None
    except OSError as error:
        raise ControlSocketError(f"{path} failed: {error.strerror or error}") from error
    if len(answer) > limit:
        raise ControlSocketError(f"{path} answered {command!r} with more than {limit} bytes")
    if not answer:
        raise ControlSocketError(f"{path} closed the connection without an answer to {command!r}")
    return answer.decode("utf-8", "replace")


def _read_to_end(connection: socket.socket, deadline: float, limit: int) -> bytes:
    answer = bytearray()
    while len(answer) <= limit:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)
        chunk = connection.recv(_CHUNK)
        if not chunk:
            break
        answer += chunk
    return bytes(answer)
