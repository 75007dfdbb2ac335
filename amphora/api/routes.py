# SPDX-License-Identifier: Apache-2.0
"""Tables of routes, and the Pecan controller that dispatches by them.

Pecan's object dispatch would reach any attribute of a controller by its name in a path, and its
RestController lets a query or form field override the method; so ``_route`` looks paths up in the tables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pecan import expose
from webob import Request, Response

from amphora.api.errors import AS_IN_TABLE, MethodNotAllowed, PathNotFound, Wording

#: Gets the request and, as strings, the path's segments that stand in braces in the table.
Handler = Callable[..., Response]

#: By path without a leading slash, and by method. A literal segment wins over one in braces.
Table = Mapping[str, Mapping[str, Handler]]


@dataclass(frozen=True, slots=True)
class Branch:
    """Everything below one first segment of the path, an API version for example.

    :ivar wording: of errors below it.
    :ivar allows_trailing_slash: whether its paths may end in a slash.
    :ivar admit: called before a path is looked up; raises if the request must not go on.
    """

    table: Table
    wording: Wording = AS_IN_TABLE
    allows_trailing_slash: bool = True
    admit: Callable[[Request], None] = lambda _request: None


class RoutingController:
    """Pecan's root controller.

    :param branches: by first segment; the empty one is ``/`` itself, whose wording is that of unknown paths.
    """

    def __init__(self, branches: Mapping[str, Branch]) -> None:
        self._branches = branches
        self._trees = {name: _Node.tree(branch.table) for name, branch in branches.items()}

    def wording(self, path: str) -> Wording:
        """Return how errors of a path are worded."""
        first = path.strip("/").partition("/")[0]
        return self._branches.get(first, self._branches[""]).wording

    @expose()  # type: ignore[untyped-decorator]
    def _route(self, segments: list[str], request: Request) -> tuple[object, list[str]]:
        path, has_slash = _without_trailing_slash(segments)
        first, *rest = path or [""]
        branch = self._branches.get(first)
        if branch is None or (has_slash and not branch.allows_trailing_slash):
            raise PathNotFound(f"No resource has the path {request.path_info}")
        branch.admit(request)
        node, values = self._trees[first].find(rest)
        if node is None or not node.handlers:
            raise PathNotFound(f"No resource has the path {request.path_info}")
        return _Match(node.handlers, values).dispatch, []


class _Node:
    """A node of the tree that a table stands for."""

    def __init__(self) -> None:
        self.handlers: Mapping[str, Handler] = {}
        self._literal: dict[str, _Node] = {}
        self._variable: _Node | None = None

    @classmethod
    def tree(cls, table: Table) -> _Node:
        root = cls()
        for path, handlers in table.items():
            node = root
            for segment in path.split("/") if path else ():
                node = node._child(segment)
            node.handlers = handlers
        return root

    def find(self, segments: list[str]) -> tuple[_Node | None, list[str]]:
        node: _Node | None = self
        values = []
        for segment in segments:
            if node is None or not segment:
                return None, []
            literal = node._literal.get(segment)
            if literal is None:
                values.append(segment)
            node = literal or node._variable
        return node, values

    def _child(self, segment: str) -> _Node:
        if not segment.startswith("{"):
            return self._literal.setdefault(segment, _Node())
        if self._variable is None:
            self._variable = _Node()
        return self._variable


@dataclass(frozen=True, slots=True)
class _Match:
    """A path that was found: the controller that Pecan calls."""

    handlers: Mapping[str, Handler]
    values: list[str]

    @expose()  # type: ignore[untyped-decorator]
    def dispatch(self, request: Request, _response: Response) -> Response:
        if request.method not in self.handlers:
            raise MethodNotAllowed(request.method, sorted(self.handlers))
        return self.handlers[request.method](request, *self.values)


def _without_trailing_slash(segments: list[str]) -> tuple[list[str], bool]:
    # "/" alone and Octavia's discovery path "//" are both the root.
    if not any(segments):
        return [], False
    return (segments[:-1], True) if segments[-1] == "" else (segments, False)
