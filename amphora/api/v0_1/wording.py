# SPDX-License-Identifier: Apache-2.0
"""What this version calls an instance: a listener."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from amphora import errors
from amphora.api.errors import MissingObject


@contextmanager
def listener_wording() -> Iterator[None]:
    """Turn a missing instance into the words this version has for it."""
    try:
        yield
    except errors.InstanceNotFound as error:
        raise MissingObject("Listener Not Found", f"No listener with UUID: {error.instance_id}") from error
