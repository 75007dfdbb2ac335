# SPDX-License-Identifier: Apache-2.0
"""The wording of API 1.0, its misspellings included: controllers and scripts match it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from amphora import errors
from amphora.api.errors import (
    BadAddress,
    BadParameters,
    MethodNotAllowed,
    PathNotFound,
    Unauthorized,
    Wording,
)
from amphora.core.changes.expected import Expected
from amphora.models import ActionKind

_GERUND = {"start": "starting", "stop": "stoping", "reload": "reloading", "delete": "stopping"}
_NOT_FOUND = (
    "The requested URL was not found on the server. If you entered the URL manually please check your "
    "spelling and try again."
)
_DEFECT = (
    "The server encountered an internal error and was unable to complete your request. Either the server is "
    "overloaded or there is an error in the application."
)


def participle(kind: ActionKind) -> str:
    """Return the result of an action in this API's spelling."""
    return "stoped" if kind is ActionKind.STOPPED else kind.value


def framework_error(status: int, description: str) -> dict[str, Any]:
    """Return the body of an error of no particular object: always exactly these two keys."""
    return {"error": f"{status} {HTTPStatus(status).phrase}: {description}", "http_code": status}


WORDING = Wording(
    bodies=(
        (errors.InvalidFixedIp, lambda _error: {"message": "Invalid network port"}),
        (errors.InvalidVip, lambda error: {"message": f"Invalid VIP: {error}"}),
        (errors.InvalidNetwork, lambda error: {"message": f"Invalid VIP: {error}"}),
        (errors.InvalidOwnAddress, lambda error: {"message": f"Invalid VRRP Address: {error}"}),
        (BadParameters, lambda error: framework_error(400, error.message)),
        (BadAddress, lambda _error: {"message": "Invalid IP address"}),
        (Unauthorized, lambda error: framework_error(401, str(error))),
        (PathNotFound, lambda _error: framework_error(404, _NOT_FOUND)),
        (
            errors.InstanceNotFound,
            lambda error: {
                "message": "Loadbalancer Not Found",
                "details": f"No loadbalancer with UUID: {error.instance_id}",
            },
        ),
        (
            errors.CertificateNotFound,
            lambda error: {
                "message": "Certificate Not Found",
                "details": f"No certificate with filename: {error.filename}",
            },
        ),
        # Controllers match this sentence in the details, and retry.
        (errors.NoSuchLink, lambda _error: {"details": "No suitable network interface found"}),
        (
            MethodNotAllowed,
            lambda _error: framework_error(405, "The method is not allowed for the requested URL."),
        ),
        (errors.InterfaceConflict, lambda _error: {"message": "Interface already exists"}),
        (
            errors.InstanceActionFailed,
            lambda error: {"message": f"Error {_GERUND[error.action]} haproxy", "details": str(error)},
        ),
        (errors.VrrpActionFailed, lambda error: _vrrp_failed(error)),
        (errors.LvsActionFailed, lambda error: _lvs_failed(error)),
        (
            errors.LvsListenerNotFound,
            lambda error: {
                "message": "UDP Listener Not Found",
                "details": f"No UDP listener with UUID: {error.listener_id}",
            },
        ),
        (errors.RulesFailed, lambda _error: framework_error(500, _DEFECT)),
        (
            errors.AgentConfigurationFailed,
            lambda error: {
                "message": "Unable to update amphora-agent configuration.",
                "details": str(error),
            },
        ),
    ),
    defect=framework_error(500, _DEFECT),
    names_methods=False,
)


@contextmanager
def parameters_refused_as(message: str) -> Iterator[None]:
    """Word invalid parameters by one message, unless they have a wording of their own.

    :raises BadParameters: for every other InvalidInput.
    """
    try:
        yield
    except (errors.InvalidFixedIp, errors.InvalidVip, errors.InvalidNetwork, errors.InvalidOwnAddress):
        raise
    except errors.InvalidInput as error:
        raise BadParameters(message, error.details) from error


@contextmanager
def absence_is_success(expected: Expected) -> Iterator[None]:
    """Let a deletion that is retried after a timeout succeed, though the object is gone.

    :raises PreconditionFailed: the client requires that the object exists.
    """
    try:
        yield
    except errors.NotFound:
        expected.require(None)


def _vrrp_failed(error: errors.VrrpActionFailed) -> dict[str, Any]:
    if error.action == "upload":
        return {"message": "Error enabling octavia-keepalived service", "details": str(error)}
    return {"message": f"Failed to {error.action} octavia-keepalived service", "details": str(error)}


def _lvs_failed(error: errors.LvsActionFailed) -> dict[str, Any]:
    messages = {
        "upload": "Error enabling octavia-keepalivedlvs service",
        "delete": "Error stopping keepalivedlvs",
    }
    default = f"Failed to {error.action} keepalivedlvs listener {error.listener_id}"
    return {"message": messages.get(error.action, default), "details": str(error)}
