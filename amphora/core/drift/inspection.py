# SPDX-License-Identifier: Apache-2.0
"""What everything that looks for drift has in common."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Protocol

from amphora.models import Difference, DriftArea

ABSENT = "absent"


class Inspector(Protocol):
    """Looks for one kind of drift, and may be asked to undo it.

    :ivar group: what the option that allows healing is named for.
    :ivar areas: that its differences are of.
    """

    group: str
    areas: frozenset[DriftArea]

    def targets(self) -> Iterable[str]:
        """Return the names of the locks under which the objects are changed."""

    def inspect(self, target: str) -> list[Difference]:
        """Return what differs, pending changes included.

        Changes nothing, never forks, waits for seconds at most.

        :raises AmphoraError: it cannot be found out.
        """

    def heal(self, target: str, differences: Sequence[Difference]) -> str:
        """Undo differences by the use case that an operator would call; return what was done.

        An empty answer means that nothing was, as there is no way or it is not the time.

        :raises AmphoraError: it failed; everything is as it was.
        """


def digest_of(data: bytes | None) -> str:
    """Return a name for content, for people to compare."""
    return ABSENT if data is None else f"sha256:{hashlib.sha256(data).hexdigest()[:16]}"
