# SPDX-License-Identifier: Apache-2.0
"""An interface's configuration as a JSON object, as it is stored."""

from __future__ import annotations

import json
from dataclasses import asdict
from ipaddress import ip_interface, ip_network
from typing import Any

from amphora.errors import StorageError
from amphora.models import InterfaceConfig, InterfaceRole, Route, RoutingRule


def to_json(config: InterfaceConfig) -> str:
    """Return one line of JSON."""
    return json.dumps(to_document(config))


def to_document(config: InterfaceConfig) -> dict[str, Any]:
    """Return the object, with the names of the fields as keys."""
    document: dict[str, Any] = json.loads(json.dumps(asdict(config), default=_plain))
    return document


def _plain(value: object) -> str:
    return str(value.value if isinstance(value, InterfaceRole) else value)


def from_json(text: str | bytes) -> InterfaceConfig:
    """Return what :func:`to_json` wrote.

    :raises StorageError: it is something else.
    """
    try:
        return from_document(json.loads(text))
    except ValueError as error:
        raise _foreign(error) from error


def from_document(document: Any) -> InterfaceConfig:
    """Return what :func:`to_document` made.

    :raises StorageError: it is something else.
    """
    try:
        return _config(document)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _foreign(error) from error


def _foreign(error: Exception) -> StorageError:
    return StorageError(f"not a stored interface configuration: {error!r}")


def _config(document: dict[str, Any]) -> InterfaceConfig:
    return InterfaceConfig(
        name=str(document["name"]),
        mac_address=str(document["mac_address"]),
        role=InterfaceRole(document["role"]),
        addresses=tuple(ip_interface(text) for text in document["addresses"]),
        floating=tuple(ip_interface(text) for text in document["floating"]),
        automatic=bool(document["automatic"]),
        mtu=None if document["mtu"] is None else int(document["mtu"]),
        routes=tuple(_route(each) for each in document["routes"]),
        rules=tuple(
            RoutingRule(ip_network(each["source"]), int(each["table"]), int(each["priority"]))
            for each in document["rules"]
        ),
        # Files of earlier releases have neither.
        shared_addresses=tuple(ip_interface(text) for text in document.get("shared_addresses", [])),
        shared_routes=tuple(_route(each) for each in document.get("shared_routes", [])),
    )


def _route(document: dict[str, Any]) -> Route:
    return Route(
        destination=ip_network(document["destination"]),
        gateway=document["gateway"],
        table=int(document["table"]),
        preferred_source=document["preferred_source"],
        onlink=bool(document["onlink"]),
    )
