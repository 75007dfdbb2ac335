# SPDX-License-Identifier: Apache-2.0
"""A configuration file of our own that includes the uploaded one.

keepalived takes a single ``-f`` file, and the uploaded one must stay as it came, byte for byte. Of a
setting given twice keepalived takes the first, but of the process name the last (measured on 2.2.7),
so ours stand on both sides of the ``include``.
"""

from __future__ import annotations

from pathlib import Path

#: Longest process name in ``/proc/PID/comm`` (proc(5)).
_LONGEST_NAME = 15


def render_overlay(included: Path, fifo: Path, generation: str) -> bytes:
    """Return our file for one uploaded configuration; the same input gives the same bytes.

    :param included: the uploaded configuration; keepalived cannot include a path with blanks.
    :param fifo: where keepalived is to tell its states.
    :param generation: name that the VRRP process takes once it has read this very file: 15
        characters at most.
    :raises ValueError: a path or the name cannot be written so that keepalived reads it back.
    """
    for path in (included, fifo):
        if not str(path).isprintable() or set(str(path)) & set(" \"'!#{}*?[]~$"):
            raise ValueError(f"{path} cannot stand in a keepalived configuration")
    if not 0 < len(generation) <= _LONGEST_NAME:
        raise ValueError(f"{generation!r} cannot be the name of a process")
    return (
        "# Written by amphora-agent around the uploaded configuration. Changes made here are lost.\n"
        "global_defs {\n"
        f"    vrrp_notify_fifo {fifo}\n"
        "}\n"
        f"include {included}\n"
        "global_defs {\n"
        f"    vrrp_process_name {generation}\n"
        "}\n"
    ).encode()
