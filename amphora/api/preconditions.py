# SPDX-License-Identifier: Apache-2.0
"""``If-Match`` (RFC 9110, section 13.1.1)."""

from __future__ import annotations

import re

from webob import Request

from amphora.core.changes.expected import ANYTHING, Expected
from amphora.errors import InvalidInput

#: One element of the list and the comma after it. Lists may have empty elements (section 5.6.1). Our own tags
#: have no quotes, as controllers know them, so they may come back without.
_ELEMENT = re.compile(
    r'[ \t]*(?:(?:(?P<weak>W/)?"(?P<quoted>[\x21\x23-\x7e\x80-\xff]*)"|(?P<bare>[0-9a-fA-F]{32}))[ \t]*)?'
    r"(?:,|\Z)"
)


def expected_by(request: Request) -> Expected:
    """Return what a client wants to be stored before its change is made.

    :raises InvalidInput: the header is there and cannot be read.
    """
    value: str | None = request.headers.get("If-Match")
    return ANYTHING if value is None else parse_if_match(value)


def parse_if_match(value: str) -> Expected:
    """Return the condition in an ``If-Match``.

    A weak tag never matches: the comparison is the strong one, by which it equals nothing.

    :raises InvalidInput: it is neither ``*`` nor a list of tags.
    """
    value = value.strip(" \t")
    if value == "*":
        return Expected()
    tags, count, position = set(), 0, 0
    while position < len(value):
        element = _ELEMENT.match(value, position)
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
