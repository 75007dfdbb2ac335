# SPDX-License-Identifier: Apache-2.0
"""What keepalived writes to its ``vrrp_notify_fifo`` (keepalived.conf(5))."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

#: Bytes without an end of line that are kept while waiting for one.
_LONGEST_LINE = 1024

_LINE = re.compile(rb'INSTANCE "(?P<name>[^"]*)" (?P<state>[A-Z_]+)(?: (?P<priority>\d{1,9}))?\s*')


class VrrpState(Enum):
    """State of one VRRP instance."""

    MASTER = "MASTER"
    BACKUP = "BACKUP"
    #: Its interface or a script that it follows is down.
    FAULT = "FAULT"
    #: It is gone: keepalived has ended it in order, or a reload has removed it.
    GONE = "GONE"


_STATES = {
    b"MASTER": VrrpState.MASTER,
    # Told in addition while the instance stays what it is.
    b"MASTER_RX_LOWER_PRI": VrrpState.MASTER,
    b"BACKUP": VrrpState.BACKUP,
    b"FAULT": VrrpState.FAULT,
    b"STOP": VrrpState.GONE,
    b"DELETED": VrrpState.GONE,
}


@dataclass(frozen=True, slots=True)
class Notification:
    """An instance has entered a state."""

    instance: str
    state: VrrpState


def parse_notifications(data: bytes) -> tuple[list[Notification], bytes]:
    """Return what whole lines say, and the beginning of a line that has not come entirely.

    Lines about groups and lines that cannot be read are passed over.
    """
    *lines, rest = data.split(b"\n")
    found = []
    for line in lines:
        match = _LINE.fullmatch(line)
        state = _STATES.get(match["state"]) if match else None
        if match and state is not None:
            found.append(Notification(match["name"].decode("utf-8", "replace"), state))
    return found, rest if len(rest) <= _LONGEST_LINE else b""
