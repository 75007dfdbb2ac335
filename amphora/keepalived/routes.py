# SPDX-License-Identifier: Apache-2.0
"""Routes that controllers write in words keepalived does not know.

Octavia's template gives the next hop of a host route after ``gateway``; keepalived calls it ``via``
(keepalived.conf(5), virtual_routes), takes the line for an error and leaves the route out.
"""

from __future__ import annotations

import re

_ROUTES = re.compile(rb"virtual_routes(?:_excluded)?\s*\{[^}]*\}")
_NEXT_HOP = re.compile(rb"(?<=\s)gateway(?=\s+[0-9a-fA-F.:]+)")


def with_known_words(data: bytes) -> bytes:
    """Return a configuration whose virtual routes keepalived understands; all else stays byte for byte."""
    return _ROUTES.sub(lambda block: _NEXT_HOP.sub(b"via", block[0]), data)
