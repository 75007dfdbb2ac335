# SPDX-License-Identifier: Apache-2.0
"""An interface's configuration in the form of interfaces(5), to be used by a ``source`` line or alone.

The first line is a comment with the same configuration in our own form: what is stored is read back
from there, since commands for routes and rules cannot be.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from amphora.drivers.network.config_format import from_json, to_json
from amphora.errors import StorageError
from amphora.models import InterfaceConfig, Route, RoutingRule

_MARK = "# amphora-interface "


def render_interfaces(config: InterfaceConfig) -> str:
    """Return the file for one interface."""
    lines = [_MARK + to_json(config), f"auto {config.name}", *_stanzas(config)]
    return "\n".join(lines) + "\n"


def parse_interfaces(data: bytes) -> InterfaceConfig:
    """Return the configuration that a file was rendered from.

    :raises StorageError: the file was not written by the agent.
    """
    first = data.decode("utf-8", "replace").partition("\n")[0]
    if not first.startswith(_MARK):
        raise StorageError("its first line does not hold an interface configuration")
    return from_json(first.removeprefix(_MARK))


def includes(text: str, file: Path, other: Path) -> bool:
    """Whether a file of interfaces(5) has a ``source`` line that matches another file.

    :param text: of the file.
    """
    words = (line.split() for line in text.splitlines())
    # Relative to the directory of the file itself.
    patterns = (
        os.path.normpath(file.parent / each[1]) for each in words if each[:1] == ["source"] and each[1:]
    )
    return any(other.match(pattern) for pattern in patterns)


def _stanzas(config: InterfaceConfig) -> Iterator[str]:
    # Not the option "mtu", which in an inet6 stanza is that of IPv6 alone.
    options = [f"    pre-up ip link set dev {config.name} mtu {config.mtu}"] if config.mtu else []
    if not config.addresses:
        yield f"iface {config.name} inet manual"
        yield from options
        options = []
    for address in config.addresses:
        yield f"iface {config.name} {'inet' if address.version == 4 else 'inet6'} static"
        yield f"    address {address.with_prefixlen}"
        yield from options
        if address.version == 6:
            yield "    dad-attempts 0"
            yield f"    accept_ra {2 if config.automatic else 0}"
            yield f"    autoconf {int(config.automatic)}"
        options = []
    # Stanzas are carried out in order, so the last one's commands find every address in place.
    yield from (f"    post-up {_route_command('add', config.name, route)}" for route in config.routes)
    for rule in config.rules:
        yield f"    post-up {_rule_command('add', rule)}"
        yield f"    pre-down {_rule_command('del', rule)}"


def _route_command(verb: str, name: str, route: Route) -> str:
    words = ["ip", f"-{route.destination.version}", "route", verb, str(route.destination)]
    words += ["via", route.gateway] if route.gateway else []
    words += ["dev", name, "table", str(route.table), "proto", "static"]
    words += ["src", route.preferred_source] if route.preferred_source else []
    words += ["onlink"] if route.onlink else []
    words += ["scope", "link"] if route.gateway is None and route.destination.version == 4 else []
    return " ".join(words)


def _rule_command(verb: str, rule: RoutingRule) -> str:
    words = ["ip", f"-{rule.source.version}", "rule", verb, "from", str(rule.source)]
    words += ["table", str(rule.table), "priority", str(rule.priority), "protocol", "static"]
    return " ".join(words)
