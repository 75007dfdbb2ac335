# SPDX-License-Identifier: Apache-2.0
"""A configuration file of our own that includes the uploaded one.

keepalived takes a single ``-f`` file, and the uploaded one must stay as it came, byte for byte. Of a
state FIFO given twice keepalived takes the first, of every other setting here the last (measured on 2.2.7
and 2.3.3), so ours are on both sides of the ``include``.
"""

from __future__ import annotations

import re
from pathlib import Path

from amphora.errors import OperationFailed

#: Longest process name in ``/proc/PID/comm`` (proc(5)).
_LONGEST_NAME = 15

#: Octavia's template gives the next hop of a host route after ``gateway``; keepalived knows ``via`` only
#: (keepalived.conf(5), virtual_routes), takes the line for an error and leaves the route out.
_ROUTES = re.compile(rb"virtual_routes(?:_excluded)?\s*\{[^}]*\}")
_NEXT_HOP = re.compile(rb"(?<=\s)gateway(?=\s+[0-9a-fA-F.:]+)")

_HOST_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def render_overlay(included: Path, host_name: str, fifo: Path | None = None, generation: str = "") -> bytes:
    """Return our file for one uploaded configuration; the same input gives the same bytes.

    :param included: the uploaded configuration; keepalived cannot include a path with blanks.
    :param host_name: of this machine. Where a configuration does not say what keepalived calls itself in
        its mails, keepalived looks its machine's name up, and a silent name server then delays
        each check and each start for 10 s or more. What the upload says of it counts.
    :param fifo: where keepalived writes its states.
    :param generation: name that the VRRP process takes once it has read this very file: 15
        characters at most; empty where only a check reads it.
    :raises OperationFailed: a path cannot be written so that keepalived reads it back.
    :raises ValueError: the generation is too long.
    """
    for path in (included, fifo or included):
        if not str(path).isprintable() or set(str(path)) & set(" \"'!#{}*?[]~$"):
            raise OperationFailed(f"{path} cannot be written in a keepalived configuration")
    if len(generation) > _LONGEST_NAME:
        raise ValueError(f"{generation!r} cannot be the name of a process")
    name = host_name if _HOST_NAME.fullmatch(host_name) else "amphora"
    first = [f"router_id {name}", f"smtp_helo_name {name}", f"notification_email_from root@{name}"]
    if fifo is not None:
        first.append(f"vrrp_notify_fifo {fifo}")
    lines = [
        "# Written by amphora-agent around the uploaded configuration. Changes made here are lost.",
        *_global(first),
        f"include {included}",
        *_global([f"vrrp_process_name {generation}"] if generation else []),
    ]
    return ("\n".join(lines) + "\n").encode()


def with_known_words(data: bytes) -> bytes:
    """Return a configuration whose virtual routes keepalived understands; all else stays byte for byte."""
    return _ROUTES.sub(lambda block: _NEXT_HOP.sub(b"via", block[0]), data)


def _global(settings: list[str]) -> list[str]:
    return ["global_defs {", *(f"    {each}" for each in settings), "}"] if settings else []
