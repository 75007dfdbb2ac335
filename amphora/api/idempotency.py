# SPDX-License-Identifier: Apache-2.0
"""``Idempotency-Key``: a change that is asked for again is answered again and not made again."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

from webob import Request, Response

from amphora.core.changes.idempotency_store import Answer, Answered
from amphora.errors import InvalidInput

HEADER = "Idempotency-Key"

_METHODS = ("POST", "PUT", "DELETE")
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


def answer_once(answered: Answered, request: Request, answer: Callable[[], Response]) -> Response:
    """Return the answer to a request; where it has a key, the one that was given before.

    :param answer: carries the request out.
    :raises InvalidInput: the key has a wrong form.
    :raises KeyReused: the key was given to another request.
    :raises Busy: the first request with this key has not ended in time.
    """
    key: str | None = request.headers.get(HEADER)
    if key is None or request.method not in _METHODS:
        return answer()
    if not _KEY.fullmatch(key):
        raise InvalidInput(f"{HEADER} has 1 to 255 visible characters")
    return _as_response(answered.once(key, _digest(request), lambda: _as_answer(answer())))


def _digest(request: Request) -> str:
    body = hashlib.sha256(request.body).hexdigest()
    # A change on another condition is another one.
    condition = request.headers.get("If-Match", "")
    return hashlib.sha256(f"{request.method} {request.path_qs} {body} {condition}".encode()).hexdigest()


def _as_answer(response: Response) -> Answer:
    headers = tuple((name, value) for name, value in response.headerlist if name.lower() != "content-length")
    # A failure of ours may have passed at the next try; what is wrong with the request stays so.
    return Answer(response.status_int, headers, response.body, is_final=response.status_int < 500)


def _as_response(answer: Answer) -> Response:
    return Response(status=answer.status, headerlist=list(answer.headers), body=answer.body)
