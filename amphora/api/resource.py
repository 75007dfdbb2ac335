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
    """A node of the tree: it may have children, and a handler for each method it knows."""

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
        for segment in _without_trailing_slash(segments):
            found = node.child(segment) if segment else None
            if found is None:
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


def _without_trailing_slash(segments: list[str]) -> list[str]:
    # "/" alone and Octavia's discovery path "//" are both the root.
    if not any(segments):
        return []
    return segments[:-1] if segments[-1] == "" else segments
