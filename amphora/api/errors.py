# SPDX-License-Identifier: Apache-2.0
"""The one table that turns errors into responses.

Controllers take any error status other than 400, 401, 403, 404, 405, 409, 500 and 503 for success, so no
other leaves this module, except 412 for clients that sent ``If-Match``. An API version may word errors in its
own way (:class:`Wording`); their status is always that of the table.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from webob import Response

from amphora import errors
from amphora.api.responses import json_response

LOG = logging.getLogger(__name__)

_GERUND = {"start": "starting", "stop": "stopping", "reload": "reloading"}


class Unauthorized(Exception):
    """The client's certificate may not use this API."""


class PathNotFound(Exception):
    """No resource has this path."""


class MethodNotAllowed(Exception):
    """The resource exists and does not support this method.

    :ivar allowed: the methods it supports.
    """

    def __init__(self, method: str, allowed: list[str]) -> None:
        super().__init__(f"{method} is not allowed here; allowed: {', '.join(allowed)}")
        self.allowed = allowed


class InterfaceNotFound(Exception):
    """No interface holds the address in the path."""


class BadAddress(Exception):
    """The path does not hold an IP address where it should."""


class BadParameters(Exception):
    """The parameters of a request are invalid; worded by the version that raises it.

    :param reason: which parameter and why, for the log.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(reason)
        self.message = message


Message = str | Callable[[Any], str]

#: Exception class, status, message, and whether the body has details; first match wins.
_TABLE: tuple[tuple[type[Exception], int, Message, bool], ...] = (
    (errors.UnknownAction, 400, "Invalid Request", True),
    (errors.InvalidFilename, 400, "Filename has wrong format", False),
    (errors.CertificateMissing, 400, "No certificate found", False),
    (errors.PrivateKeyEncrypted, 400, "No RSA key found", True),
    (errors.PrivateKeyMissing, 400, "No RSA key found", False),
    (errors.KeyMismatch, 400, "Certificate and key do not match", False),
    (errors.InvalidVip, 400, "Invalid VIP", False),
    (errors.InvalidSubnet, 400, "Invalid subnet information", True),
    (errors.InvalidInput, 400, "Invalid request", True),
    (BadParameters, 400, lambda error: error.message, True),
    (BadAddress, 400, "Bad IP address version", False),
    (Unauthorized, 401, "Unauthorized", True),
    (PathNotFound, 404, "Not Found", True),
    (InterfaceNotFound, 404, "Error interface not found for IP address", False),
    (errors.CertificateNotFound, 404, "Certificate Not Found", True),
    (errors.NoSuchLink, 404, "No suitable network interface found", True),
    (errors.NotFound, 404, "Not Found", True),
    (MethodNotAllowed, 405, "Method Not Allowed", True),
    (errors.KeyReused, 409, "Idempotency key in use for another request", True),
    (errors.PreconditionFailed, 412, "Precondition Failed", True),
    (errors.InterfaceConflict, 409, "Interface already exists", True),
    (errors.PlugFailed, 500, lambda error: f"Error plugging {error.what}", True),
    (errors.InstanceActionFailed, 500, lambda error: f"Error {_GERUND[error.action]} haproxy", True),
    (errors.LvsActionFailed, 500, lambda error: f"LVS listener: {error.action} failed", True),
    (errors.VrrpActionFailed, 500, lambda error: _vrrp_message(error), True),
    (errors.StorageError, 500, "Storage error", True),
    (errors.OperationFailed, 500, "Operation failed", True),
    (errors.TopologyTransition, 503, "Topology transition in progress", False),
    (errors.Busy, 503, "Busy", True),
)


def _vrrp_message(error: errors.VrrpActionFailed) -> str:
    if error.action == "upload":
        return "Failed to upload keepalived configuration."
    return f"Failed to {error.action} keepalived service: {error.details}"


@dataclass(frozen=True, slots=True)
class Wording:
    """How one API version words errors.

    :ivar bodies: exception class and what makes its body; first match wins, all others are as in the table.
    :ivar defect: the body for an unexpected error.
    :ivar names_methods: whether a 405 has ``Allow``.
    """

    bodies: tuple[tuple[type[Exception], Callable[[Any], dict[str, Any]]], ...]
    defect: dict[str, Any]
    names_methods: bool


def error_body(message: str, details: str | None = None) -> dict[str, Any]:
    """Return the body that errors have in most cases."""
    return {"message": message} | ({} if details is None else {"details": details})


AS_IN_TABLE = Wording(
    bodies=(),
    defect=error_body(
        "Internal server error",
        "An unexpected error occurred; the agent's log has the details under this request's id.",
    ),
    names_methods=True,
)


def statuses() -> frozenset[int]:
    """Return every status that :func:`error_response` can give."""
    return frozenset(status for _, status, _, _ in _TABLE) | {500}


def error_response(error: Exception, wording: Wording = AS_IN_TABLE) -> Response:
    """Return the response to an error; one that no row covers is a defect: 500, traceback logged."""
    for kind, status, message, with_details in _TABLE:
        if isinstance(error, kind):
            body = _own_body(error, wording) or _table_body(error, message, with_details)
            LOG.log(logging.ERROR if status >= 500 else logging.INFO, "answered %d: %s", status, error)
            return _with_headers(json_response(status, body), error, wording)
    LOG.error("unexpected error", exc_info=error)
    return json_response(500, wording.defect)


def _own_body(error: Exception, wording: Wording) -> dict[str, Any] | None:
    return next((body(error) for kind, body in wording.bodies if isinstance(error, kind)), None)


def _table_body(error: Exception, message: Message, with_details: bool) -> dict[str, Any]:
    text = message if isinstance(message, str) else message(error)
    return error_body(text, str(error) if with_details and str(error) else None)


def _with_headers(response: Response, error: Exception, wording: Wording) -> Response:
    if isinstance(error, MethodNotAllowed) and wording.names_methods:
        response.headers["Allow"] = ", ".join(error.allowed)
    if isinstance(error, errors.Busy):
        response.headers["Retry-After"] = "5"
    return response
