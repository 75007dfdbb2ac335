# SPDX-License-Identifier: Apache-2.0
"""Names in ``peers`` sections."""

from __future__ import annotations

import base64
import hashlib


def peer_name(amphora_id: str) -> str:
    """Return the name under which controllers list an amphora among the peers of a load balancer.

    It is the Base64 form of the id's SHA-1 digest, with the two characters that haproxy would not take
    replaced the other way round than in URL-safe Base64, and no dash in front: as an argument of
    ``-L`` that would be an option.
    """
    digest = hashlib.sha1(amphora_id.encode(), usedforsecurity=False).digest()
    name = base64.b64encode(digest, altchars=b"_-").decode().rstrip("=")
    return f"x{name[1:]}" if name.startswith("-") else name
