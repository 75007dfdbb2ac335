# SPDX-License-Identifier: Apache-2.0
"""``Idempotency-Key``: the retry of a change gets the stored response instead of being carried out."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

from webob import Request, Response

from amphora.core.changes.idempotency_store import IdempotencyStore, StoredResponse
from amphora.errors import InvalidInput

HEADER = "Idempotency-Key"

_METHODS = ("POST", "PUT", "DELETE")
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


def respond_once(store: IdempotencyStore, request: Request, respond: Callable[[], Response]) -> Response:
    """Return the response to a request; if it has a key, the one that was given before.

    :param respond: carries the request out.
    :raises InvalidInput: the key has a wrong form.
    :raises KeyReused: the key was given to another request.
    :raises Busy: timed out waiting for the first request with this key.
    """
    key: str | None = request.headers.get(HEADER)
    if key is None or request.method not in _METHODS:
        return respond()
    if not _KEY.fullmatch(key):
        raise InvalidInput(f"{HEADER} has 1 to 255 visible characters")
    stored = store.once(key, _digest(request), lambda: _to_be_stored(respond()))
    return Response(status=stored.status, headerlist=list(stored.headers), body=stored.body)


def _digest(request: Request) -> str:
    body = hashlib.sha256(request.body).hexdigest()
    # The same change on another condition is another request.
    condition = request.headers.get("If-Match", "")
    return hashlib.sha256(f"{request.method} {request.path_qs} {body} {condition}".encode()).hexdigest()


def _to_be_stored(response: Response) -> StoredResponse:
    headers = tuple((name, value) for name, value in response.headerlist if name.lower() != "content-length")
    # A failure of the agent may be over at the next attempt; what is wrong with the request stays so.
    return StoredResponse(response.status_int, headers, response.body, is_final=response.status_int < 500)
