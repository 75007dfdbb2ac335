# SPDX-License-Identifier: Apache-2.0
"""What a caller expects to be stored before its change, so that it never undoes a change it has not seen."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from amphora.errors import PreconditionFailed


def etag_of(content: bytes) -> str:
    """Return the ETag of stored content: its MD5, by which clients compare it; not for security."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True)
class Expected:
    """A condition on stored content. It is checked under the lock that the change holds.

    :ivar digests: one of these is of what is stored; None: any stored content is fine.
    :ivar must_exist: something is stored.
    """

    digests: frozenset[str] | None = None
    must_exist: bool = True

    def require(self, content: bytes | None) -> None:
        """Return if the stored content is as expected; None stands for nothing.

        :raises PreconditionFailed: it is not; says what is stored.
        """
        self.require_digest(None if content is None else etag_of(content))

    def require_digest(self, digest: str | None) -> None:
        """Return if content of this digest is as expected; None stands for nothing.

        :raises PreconditionFailed: it is not; says what is stored.
        """
        if digest is None and self.must_exist:
            raise PreconditionFailed("Nothing is stored here, so nothing was changed")
        if self.digests is not None and digest not in self.digests:
            raise PreconditionFailed(f"What is stored has the ETag {digest}, so nothing was changed")


#: Of callers that change what they have not read.
ANYTHING = Expected(must_exist=False)
