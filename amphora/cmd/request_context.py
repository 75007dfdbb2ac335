# SPDX-License-Identifier: Apache-2.0
"""Log lines of a request's own threads carry its id, as oslo.log finds it in the thread."""

from __future__ import annotations

from collections.abc import Callable

from oslo_context import context


def in_request(step: Callable[[], object]) -> Callable[[], object]:
    """Return a function that does the same in any thread, in the context of the thread that calls this."""
    current = context.get_current()
    if current is None:
        return step

    def run() -> object:
        current.update_store()
        return step()

    return run
