# SPDX-License-Identifier: Apache-2.0
"""What every node of the controller tree has in common.

Pecan's object dispatch would reach any attribute of a controller by its name in a path, and its
RestController lets a query or form field override the method; so the tree routes explicitly.
"""

from __future__ import annotations

from collections.abc import Callable

from pecan import expose
from webob import Request, Response

from amphora.api.errors import MethodNotAllowed, PathNotFound

Handler = Callable[[Request], Response]


class Resource:
    """A node of the tree: it may have children, and a handler for each method it knows.

    :cvar allows_trailing_slash: whether paths to and below this node may end in a slash.
    """

    allows_trailing_slash = True

    def child(self, segment: str) -> Resource | None:
        """Return the resource below this one, or None if there is none of this name."""
        return None

    def handlers(self) -> dict[str, Handler]:
        """Return the handler of each HTTP method; empty for a mere branch."""
        return {}

    def admit(self, request: Request) -> None:
        """Return if a request to this resource or one below it may go on.

        :raises AmphoraError: it may not at this moment.
        """

    @expose()  # type: ignore[untyped-decorator]
    def _route(self, segments: list[str], request: Request) -> tuple[object, list[str]]:
        node = self
        node.admit(request)
        path, has_slash = _without_trailing_slash(segments)
        for segment in path:
            found = node.child(segment) if segment else None
            if found is None or (has_slash and not found.allows_trailing_slash):
                raise PathNotFound(f"No resource has the path {request.path_info}")
            node = found
            node.admit(request)
        return node.dispatch, []

    @expose()  # type: ignore[untyped-decorator]
    def dispatch(self, request: Request, _response: Response) -> Response:
        """Answer a request by the handler of its method."""
        handlers = self.handlers()
        if not handlers:
            raise PathNotFound(f"No resource has the path {request.path_info}")
        if request.method not in handlers:
            raise MethodNotAllowed(request.method, sorted(handlers))
        return handlers[request.method](request)


class Branch(Resource):
    """A node without an answer of its own: it only has children.

    :param find: returns the child of a name, or None.
    """

    def __init__(self, find: Callable[[str], Resource | None]) -> None:
        self._find = find

    def child(self, segment: str) -> Resource | None:
        """Return the resource of this name."""
        return self._find(segment)


def _without_trailing_slash(segments: list[str]) -> tuple[list[str], bool]:
    # "/" alone and Octavia's discovery path "//" are both the root.
    if not any(segments):
        return [], False
    return (segments[:-1], True) if segments[-1] == "" else (segments, False)
