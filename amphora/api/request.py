# SPDX-License-Identifier: Apache-2.0
"""Reading requests: identifiers, bodies, and ``If-Match`` (RFC 9110, section 13.1.1)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, TypeVar

import pecan
from webob import Request

from amphora.core.changes.expected import ANYTHING, Expected
from amphora.errors import InvalidInput, UnknownAction

_T = TypeVar("_T")

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

#: Content types that declare a body to be something other than the file it should be.
_NEVER_A_FILE = ("application/json", "multipart/")

#: One element of the list and the comma after it. Lists may have empty elements (section 5.6.1). The agent's
#: own tags have no quotes, as controllers expect them, so they may be sent without.
_IF_MATCH_ELEMENT = re.compile(
    r'[ \t]*(?:(?:(?P<weak>W/)?"(?P<quoted>[\x21\x23-\x7e\x80-\xff]*)"|(?P<bare>[0-9a-fA-F]{32}))[ \t]*)?'
    r"(?:,|\Z)"
)


class AgentRequest(pecan.Request):  # type: ignore[misc]
    """A request whose parameters come from the query only: Pecan would merge bodies into them.

    It would also parse a JSON body before any controller is asked, and fail on a hostile one.
    """

    @property
    def params(self) -> Any:
        """The query parameters."""
        return self.GET

    @property
    def json(self) -> dict[str, Any]:
        """Nothing, for Pecan; handlers call :func:`json_object`."""
        return {}


def parse_uuid(name: str, value: str) -> str:
    """Return a UUID in its canonical lower-case form.

    :param name: the parameter's name in the path, for the error.
    :raises InvalidInput: it is not a UUID.
    """
    if not _UUID.fullmatch(value):
        raise InvalidInput(f"{name} is not a UUID: {value!r}")
    return value.lower()


def choose_action(word: str, actions: Mapping[str, _T]) -> _T:
    """Return the action that a word in the path, in any case, names.

    :raises UnknownAction: there is no such action.
    """
    action = actions.get(word.lower())
    if action is None:
        raise UnknownAction(word)
    return action


def uploaded_file(request: Request) -> bytes:
    """Return the body of an upload, byte for byte.

    :raises InvalidInput: it is empty, encoded, or declared to be something other than a file.
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


def json_object(request: Request) -> dict[str, Any]:
    """Return the body of a request that sends parameters.

    :raises InvalidInput: it is not declared as JSON, cannot be parsed, or is not an object.
    """
    body = json_document(request)
    if not isinstance(body, dict):
        raise InvalidInput("The body is not a JSON object")
    return body


def json_document(request: Request) -> object:
    """Return the parsed JSON body of a request, of any type.

    :raises InvalidInput: it is not declared as JSON or cannot be parsed.
    """
    content_type = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise InvalidInput("Content-Type application/json is required here")
    try:
        return json.loads(request.body)
    except (ValueError, RecursionError):
        raise InvalidInput("The body is not valid JSON") from None


def expected_by(request: Request) -> Expected:
    """Return what a client requires to be stored before its change is made.

    :raises InvalidInput: ``If-Match`` cannot be parsed.
    """
    value: str | None = request.headers.get("If-Match")
    return ANYTHING if value is None else parse_if_match(value)


def parse_if_match(value: str) -> Expected:
    """Return the condition in an ``If-Match``; a weak tag never matches, as the comparison is strong.

    :raises InvalidInput: it is neither ``*`` nor a list of tags.
    """
    value = value.strip(" \t")
    if value == "*":
        return Expected()
    tags, count, position = set(), 0, 0
    while position < len(value):
        element = _IF_MATCH_ELEMENT.match(value, position)
        if element is None:
            raise InvalidInput('If-Match is neither "*" nor a list of entity tags')
        position = element.end()
        tag = element["bare"] or element["quoted"]
        if tag is not None:
            count += 1
            tags |= set() if element["weak"] else {tag}
    if not count:
        raise InvalidInput("If-Match names no entity tag")
    return Expected(frozenset(tags))
