# SPDX-License-Identifier: Apache-2.0
"""Finds out whether a TCP listener answers, without its process ever noticing (tcp(7)).

A connection that is opened and closed at once is accepted, counted, logged, and perhaps handed on to
another server. So the last packet of the handshake is held back: with TCP_QUICKACK off the kernel waits for
data to send along with it, and with a linger time of zero it then sends a reset. The listener's kernel has
answered, and forgets the connection before it was one.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
from dataclasses import dataclass

_LINGER_ZERO = struct.pack("ii", 1, 0)
#: struct tcp_info of linux/tcp.h: tcpi_total_retrans, tcpi_segs_out (since Linux 4.2).
_INFO_LENGTH, _RETRANSMITTED, _SEGMENTS_OUT = 192, 100, 136
_WORD = struct.Struct("=I")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one attempt.

    :ivar error: number of errno(3); 0 when a listener answered, ETIMEDOUT when none did in time.
    :ivar noticed: the handshake was completed after all, so that the listener's process may have seen and
        counted a connection. That takes a caller that is held up for 200 ms.
    """

    error: int
    noticed: bool = False

    @property
    def reached(self) -> bool:
        """Whether a listener answered."""
        return self.error == 0

    @property
    def reason(self) -> str:
        """The error for people."""
        return os.strerror(self.error)


def quiet_connect(host: str, port: int, timeout: float) -> Answer:
    """Ask for a connection from the calling thread's network namespace, and give it up. Safe to repeat.

    About 30 µs where the listener is on this machine.

    :param host: an IPv4 or IPv6 address.
    :param timeout: seconds.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
            probe.setblocking(False)
            probe.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
            error = probe.connect_ex((host, port))
            if error == errno.EINPROGRESS:
                error = _outcome(probe, timeout)
            return Answer(error, error == 0 and _is_complete(probe))
    except OSError as error:
        return Answer(error.errno or errno.EIO)


def _outcome(probe: socket.socket, timeout: float) -> int:
    poll = select.poll()
    poll.register(probe, select.POLLOUT)
    if not poll.poll(max(1, int(timeout * 1000))):
        return errno.ETIMEDOUT
    return probe.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


def _is_complete(probe: socket.socket) -> bool:
    """Whether more than the first packet has been sent."""
    info = probe.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_LENGTH)
    if len(info) < _SEGMENTS_OUT + _WORD.size:
        return False
    sent, again = (int(_WORD.unpack_from(info, at)[0]) for at in (_SEGMENTS_OUT, _RETRANSMITTED))
    return sent - again > 1
