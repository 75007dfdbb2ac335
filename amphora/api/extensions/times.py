# SPDX-License-Identifier: Apache-2.0
"""How moments are written."""

from __future__ import annotations

from datetime import UTC, datetime


def written(seconds: float) -> str:
    """Return a moment as ISO 8601 in UTC, to the millisecond.

    :param seconds: since the epoch.
    """
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
