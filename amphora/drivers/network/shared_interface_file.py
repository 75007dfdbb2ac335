# SPDX-License-Identifier: Apache-2.0
"""Stored interfaces in a form that Octavia's ``amphora-interface`` can bring up as well.

At boot it may be that program that does so: under a unit of Octavia's, or after a return to Octavia's agent.
It passes each key of a file to a constructor and each key of an address, route or rule to the kernel, so
nothing may be added there. Of ``scripts`` it reads ``up`` and ``down`` only; a third entry there holds what
Octavia's form cannot, and shows who wrote the file last, as Octavia's agent writes none
(octavia/amphorae/backends/utils/interface.py and interface_file.py, 11.0.3 and 19.0.0).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from amphora.drivers.network.config_format import from_document, from_json, to_document
from amphora.errors import StorageError
from amphora.models import InterfaceConfig, InterfaceRole, IPInterface, Route

_OWN = "amphora-agent"
_SCRIPT = "/usr/local/bin/lvs-masquerade.sh"
_TYPES = {InterfaceRole.VIP: "vip", InterfaceRole.MEMBER: "backend"}
_MAIN_TABLE = 254


def render(config: InterfaceConfig) -> str:
    """Return the file of an interface."""
    scripts = {verb: _scripts(config, action) for verb, action in (("up", "add"), ("down", "delete"))}
    document = {
        "name": config.name,
        "if_type": _TYPES[config.role],
        "addresses": list(_addresses(config)),
        "routes": [_route(route) for route in config.routes],
        "rules": [
            {"src": str(rule.source.network_address), "src_len": rule.source.prefixlen, "table": rule.table}
            for rule in config.rules
        ],
        "scripts": {**scripts, _OWN: to_document(config)},
    }
    # Absent like there: with none, the link keeps its own.
    mtu = {"mtu": config.mtu} if config.mtu else {}
    return json.dumps(document | mtu) + "\n"


def parse(data: bytes) -> InterfaceConfig:
    """Return what :func:`render` wrote, or an earlier release, which had only our own form.

    :raises StorageError: it is something else.
    """
    try:
        own = own_part(json.loads(data))
    except (ValueError, RecursionError) as error:
        raise StorageError(f"not a stored interface configuration: {error!r}") from error
    return from_json(data) if own is None else from_document(own)


def own_part(document: object) -> object | None:
    """Return what stands in a document for this agent alone; None if it did not write it."""
    scripts = document.get("scripts") if isinstance(document, Mapping) else None
    return scripts.get(_OWN) if isinstance(scripts, Mapping) else None


def _addresses(config: InterfaceConfig) -> Iterator[dict[str, Any]]:
    if config.automatic:
        yield {"dhcp": True, "ipv6auto": True}
    for address in config.addresses:
        yield _address(address)
    for address in config.floating:
        yield _address(address) | {"octavia_owned": False}


def _address(address: IPInterface) -> dict[str, Any]:
    return {"address": str(address.ip), "prefixlen": address.network.prefixlen}


def _route(route: Route) -> dict[str, Any]:
    document: dict[str, Any] = {"dst": str(route.destination)}
    if route.gateway is None:
        document["scope"] = "link"
    else:
        document["gateway"] = route.gateway
    if route.onlink:
        document["flags"] = ["onlink"]
    if route.preferred_source is not None:
        document["prefsrc"] = route.preferred_source
    if route.table != _MAIN_TABLE:
        document["table"] = route.table
    return document


def _scripts(config: InterfaceConfig, action: str) -> list[dict[str, str]]:
    versions = {address.version for address in (*config.addresses, *config.floating)}
    families = sorted({4, 6} if config.automatic else versions)
    return [{"command": f"{_SCRIPT} {action} ipv{version} {config.name}"} for version in families]
