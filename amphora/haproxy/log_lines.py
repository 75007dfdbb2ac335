# SPDX-License-Identifier: Apache-2.0
"""Alerts and warnings that haproxy prints on standard error."""

from __future__ import annotations

ALERT = "[ALERT]"

_MOST_LINES = 20
_LONGEST_LINE = 500


def alerts(output: str) -> str:
    """Return the last alerts among what haproxy printed, or its warnings if there are none, a line each.

    A reload that fails prints a few alerts between two warnings for each frontend. Everything else is left
    out: configurations can send the log of requests to the same place.
    """
    lines = output.splitlines()
    for level in (ALERT, "[WARNING]"):
        if found := [line[:_LONGEST_LINE] for line in lines if line.startswith(level)]:
            return "\n".join(found[-_MOST_LINES:])
    return ""
