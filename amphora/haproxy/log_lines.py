# SPDX-License-Identifier: Apache-2.0
"""What haproxy says of itself on standard error."""

from __future__ import annotations

ALERT = "[ALERT]"

_MOST_LINES = 20
_LONGEST_LINE = 500


def alerts(output: str) -> str:
    """Return the last alerts among what haproxy printed, or its warnings where there is none, a line each.

    A reload that fails has a few alerts in the midst of two warnings for each frontend. What else is
    there is left out: configurations can send the log of requests to the same place.
    """
    lines = output.splitlines()
    for level in (ALERT, "[WARNING]"):
        if found := [line[:_LONGEST_LINE] for line in lines if line.startswith(level)]:
            return "\n".join(found[-_MOST_LINES:])
    return ""
