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
    error_body,
)
from amphora.core.changes.expected import Expected
from amphora.models import ActionKind

_GERUND = {"start": "starting", "stop": "stoping", "reload": "reloading", "delete": "stopping"}
_NOT_FOUND = (
    "The requested URL was not found on the server. If you entered the URL manually please check your "
    "spelling and try again."
)
_NOT_ALLOWED = "The method is not allowed for the requested URL."
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
        (errors.InvalidFixedIp, lambda _error: error_body("Invalid network port")),
        (errors.InvalidVip, lambda error: error_body(f"Invalid VIP: {error}")),
        (errors.InvalidNetwork, lambda error: error_body(f"Invalid VIP: {error}")),
        (errors.InvalidOwnAddress, lambda error: error_body(f"Invalid VRRP Address: {error}")),
        (BadParameters, lambda error: framework_error(400, error.message)),
        (BadAddress, lambda _error: error_body("Invalid IP address")),
        (Unauthorized, lambda error: framework_error(401, str(error))),
        (PathNotFound, lambda _error: framework_error(404, _NOT_FOUND)),
        (
            errors.InstanceNotFound,
            lambda error: error_body(
                "Loadbalancer Not Found", f"No loadbalancer with UUID: {error.instance_id}"
            ),
        ),
        (
            errors.CertificateNotFound,
            lambda error: error_body(
                "Certificate Not Found", f"No certificate with filename: {error.filename}"
            ),
        ),
        # Controllers match this sentence in the details, and retry.
        (errors.NoSuchLink, lambda _error: {"details": "No suitable network interface found"}),
        (MethodNotAllowed, lambda _error: framework_error(405, _NOT_ALLOWED)),
        (errors.InterfaceConflict, lambda _error: error_body("Interface already exists")),
        (
            errors.InstanceActionFailed,
            lambda error: error_body(f"Error {_GERUND[error.action]} haproxy", error.details),
        ),
        (errors.VrrpActionFailed, lambda error: error_body(_vrrp_message(error), error.details)),
        (errors.LvsActionFailed, lambda error: error_body(_lvs_message(error), error.details)),
        (
            errors.LvsListenerNotFound,
            lambda error: error_body(
                "UDP Listener Not Found", f"No UDP listener with UUID: {error.listener_id}"
            ),
        ),
        (errors.RulesFailed, lambda _error: framework_error(500, _DEFECT)),
        (
            errors.AgentConfigurationFailed,
            lambda error: error_body("Unable to update amphora-agent configuration.", error.details),
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


def _vrrp_message(error: errors.VrrpActionFailed) -> str:
    if error.action == "upload":
        return "Error enabling octavia-keepalived service"
    return f"Failed to {error.action} octavia-keepalived service"


def _lvs_message(error: errors.LvsActionFailed) -> str:
    messages = {
        "upload": "Error enabling octavia-keepalivedlvs service",
        "delete": "Error stopping keepalivedlvs",
    }
    default = f"Failed to {error.action} keepalivedlvs listener {error.listener_id}"
    return messages.get(error.action, default)
