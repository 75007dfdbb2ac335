# SPDX-License-Identifier: Apache-2.0
"""How requests are read: identifiers, raw bodies, and no parameter from anywhere else."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, TypeVar

import pecan

from amphora.errors import InvalidInput, UnknownAction

_T = TypeVar("_T")

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

#: Content types that say plainly that a body is something other than the file it should be.
_NEVER_A_FILE = ("application/json", "multipart/")


class AgentRequest(pecan.Request):  # type: ignore[misc]
    """A request whose parameters come from the query only: Pecan would merge bodies into them.

    It would also parse a JSON body before any controller is asked, and fall over a hostile one.
    """

    @property
    def params(self) -> Any:
        """The query parameters."""
        return self.GET

    @property
    def json(self) -> dict[str, Any]:
        """Nothing, for Pecan; controllers call :func:`json_object`."""
        return {}


def parse_uuid(name: str, value: str) -> str:
    """Return a UUID in its canonical lower-case form.

    :param name: the parameter's name in the path, for the error.
    :raises InvalidInput: it is none.
    """
    if not _UUID.fullmatch(value):
        raise InvalidInput(f"{name} is not a UUID: {value!r}")
    return value.lower()


def choose_action(word: str, actions: Mapping[str, _T]) -> _T:
    """Return what a word in the path asks for, in any case.

    :raises UnknownAction: it asks for nothing that is known.
    """
    action = actions.get(word.lower())
    if action is None:
        raise UnknownAction(word)
    return action


def uploaded_file(request: Any) -> bytes:
    """Return the body of an upload, byte for byte.

    :raises InvalidInput: it is empty, encoded, or declared to be something else than a file.
    """
    content_type = request.headers.get("Content-Type", "").strip().lower()
    if content_type.startswith(_NEVER_A_FILE):
        raise InvalidInput(
            f"Content-Type {content_type} is not accepted here: send the file itself as the body"
        )
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding != "identity":
        raise InvalidInput(f"Content-Encoding {encoding} is not accepted: send the body as it is")
    body: bytes = request.body
    if not body:
        raise InvalidInput("The body is empty: send the file itself as the body")
    return body


def json_object(request: Any) -> dict[str, Any]:
    """Return the body of a request that sends parameters.

    :raises InvalidInput: it is not declared as JSON, cannot be parsed, or is no object.
    """
    body = json_document(request)
    if not isinstance(body, dict):
        raise InvalidInput("The body is not a JSON object")
    return body


def json_document(request: Any) -> object:
    """Return what a request's body is in JSON, of whatever kind.

    :raises InvalidInput: it is not declared as JSON or cannot be parsed.
    """
    content_type = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise InvalidInput("Content-Type application/json is required here")
    try:
        return json.loads(request.body)
    except (ValueError, RecursionError):
        raise InvalidInput("The body is not valid JSON") from None
