# SPDX-License-Identifier: Apache-2.0
"""Interface configurations as Octavia's own agent stores them, so that its amphorae can be taken over.

They are only read. Its list of links is kept up to date.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from ipaddress import (
    ip_address,
    ip_interface,
    ip_network,
)
from pathlib import Path
from typing import Any

from amphora.drivers.network.shared_interface_file import own_part
from amphora.errors import StorageError
from amphora.models import (
    InterfaceConfig,
    InterfaceRole,
    IPAddress,
    IPInterface,
    IPNetwork,
    Route,
    RoutingRule,
)
from amphora.system import files
from amphora.system.interfaces import interfaces

LOG = logging.getLogger(__name__)

#: Which link has which name; Octavia's agent has it here, independent of its ``base_path``.
PLUGGED_INTERFACES = Path("/var/lib/octavia/plugged_interfaces")

_SUFFIX = ".json"
_ROLES = {"vip": InterfaceRole.VIP, "backend": InterfaceRole.MEMBER}
_MAIN_TABLE = 254


class OctaviaInterfaceFiles:
    """Reads the files of one directory.

    :param namespace: the data namespace, where links may have their names already.
    :param plugged: lists MAC address and name of each link that was ever plugged.
    """

    def __init__(self, directory: Path, namespace: str, plugged: Path = PLUGGED_INTERFACES) -> None:
        self._directory = directory
        self._namespace = namespace
        self._plugged = plugged

    def read_all(self) -> list[InterfaceConfig]:
        """Return every configuration of this form, by name; one that cannot be used is logged.

        :raises StorageError: the directory cannot be read.
        """
        documents = {}
        for filename in files.file_names(self._directory):
            document = _document(files.read_if_present(self._directory / filename) or b"")
            if filename.endswith(_SUFFIX) and is_octavia_document(document):
                documents[filename] = document
        addresses = self._mac_addresses() if documents else {}
        return [config for config in (self._config(*each, addresses) for each in documents.items()) if config]

    def remove(self, name: str) -> None:
        """Forget an interface that is stored in this form; safe to repeat.

        :raises StorageError: it could not be removed.
        """
        path = self._directory / f"{name}{_SUFFIX}"
        if is_octavia_document(_document(files.read_if_present(path) or b"")):
            files.remove(path)

    def remember(self, config: InterfaceConfig) -> None:
        """List a link, so that Octavia's agent finds it at the next boot if it comes back. Safe to repeat.

        A link has one name: an older line of it is replaced. Without Octavia's directory nothing is written.

        :raises StorageError: the list is as it was.
        """
        if not self._plugged.parent.is_dir():
            return
        former = files.read_if_present(self._plugged) or b""
        lines = former.decode("utf-8", "replace").splitlines()
        kept = [line for line in lines if line.lower().split()[:1] != [config.mac_address]]
        text = "".join(f"{line}\n" for line in (*kept, f"{config.mac_address} {config.name}"))
        if f"{config.mac_address} {config.name}" not in lines or len(kept) + 1 != len(lines):
            files.write_atomically(self._plugged, text.encode(), 0o644)

    def _config(
        self, filename: str, document: Mapping[str, Any], addresses: Mapping[str, str]
    ) -> InterfaceConfig | None:
        try:
            config = parse_document(document, addresses.get)
        except StorageError as error:
            LOG.error("%s skipped: %s", self._directory / filename, error)
            return None
        if config is not None and f"{config.name}{_SUFFIX}" != filename:
            LOG.error("%s skipped: it is for %s", self._directory / filename, config.name)
            return None
        return config

    def _mac_addresses(self) -> dict[str, str]:
        text = files.read_if_present(self._plugged) or b""
        # A link that is in place is better evidence than a list that only ever grows.
        present = {each.name: each.mac_address for each in interfaces(self._namespace)}
        return parse_plugged_interfaces(text) | (present if self._namespace else {})


def is_octavia_document(document: object) -> bool:
    """Whether a JSON document is a configuration of this form, complete or not, and of Octavia's agent."""
    return isinstance(document, Mapping) and "if_type" in document and own_part(document) is None


def is_octavia_file(data: bytes) -> bool:
    """Whether a file holds a configuration of this form that Octavia's agent wrote."""
    return is_octavia_document(_document(data))


def parse_plugged_interfaces(data: bytes) -> dict[str, str]:
    """Return the MAC address of each name; other lines are ignored, the last of a name counts."""
    pairs = (line.split() for line in data.decode("utf-8", "replace").splitlines())
    return {pair[1]: pair[0].lower() for pair in pairs if len(pair) == 2}


def parse_document(
    document: Mapping[str, Any], mac_address_of: Callable[[str], str | None]
) -> InterfaceConfig | None:
    """Return the configuration, or None for that of loopback, which every namespace has by itself.

    :param mac_address_of: returns that of a name.
    :raises StorageError: it is incomplete or malformed, or the link's MAC address is not known.
    """
    try:
        if document["if_type"] == "lo":
            return None
        name = str(document["name"])
        mac_address = mac_address_of(name)
        if not mac_address:
            raise StorageError(f"the MAC address of {name} is unknown")
        return _interface(name, mac_address, document)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise StorageError(f"not an interface of Octavia's: {error!r}") from error


def _interface(name: str, mac_address: str, document: Mapping[str, Any]) -> InterfaceConfig:
    given = document["addresses"]
    fixed = [each for each in given if "address" in each]
    held = tuple(_address(each) for each in fixed if each.get("octavia_owned", True))
    mtu = document.get("mtu")
    return InterfaceConfig(
        name=name,
        mac_address=mac_address,
        role=_ROLES[document["if_type"]],
        addresses=held,
        floating=tuple(_address(each) for each in fixed if not each.get("octavia_owned", True)),
        automatic=any(each.get("dhcp") or each.get("ipv6auto") for each in given),
        mtu=None if mtu is None else int(mtu),
        routes=_routes(document.get("routes") or (), {each.network for each in held}),
        rules=tuple(
            RoutingRule(ip_network((str(_ip(each["src"])), int(each["src_len"])), strict=False), _table(each))
            for each in document.get("rules") or ()
        ),
    )


def _address(document: Mapping[str, Any]) -> IPInterface:
    return ip_interface((_ip(document["address"]), int(document["prefixlen"])))


def _routes(documents: Iterable[Mapping[str, Any]], covered: set[IPNetwork]) -> tuple[Route, ...]:
    routes = [_route(each) for each in documents]
    # The kernel brings the way into a subnet together with an address in it.
    plain = {Route(network) for network in covered}
    return tuple(dict.fromkeys(route for route in routes if route not in plain))


def _route(document: Mapping[str, Any]) -> Route:
    gateway, source = document.get("gateway"), document.get("prefsrc")
    return Route(
        destination=ip_network(_text(document["dst"]), strict=False),
        gateway=None if gateway is None else str(_ip(gateway)),
        table=_table(document),
        preferred_source=None if source is None else str(_ip(source)),
        onlink="onlink" in (document.get("flags") or ()),
    )


def _table(document: Mapping[str, Any]) -> int:
    return int(document.get("table") or _MAIN_TABLE)


def _ip(value: object) -> IPAddress:
    return ip_address(_text(value))


def _text(value: object) -> str:
    # A number would be taken as the integer form of an address.
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a string")
    return value


def _document(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None
