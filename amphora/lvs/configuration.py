# SPDX-License-Identifier: Apache-2.0
"""What a keepalived configuration for LVS says, its comments included.

Comments of controllers name the object that each part is made from, and those that are disabled::

    # Configuration for Pool 90000000-0000-4000-8000-000000000002
    # Configuration for Member ae000000-0000-4000-8000-000000000003
    real_server 10.0.0.21 53 {
    ...
    # Member ae000000-0000-4000-8000-000000000004 is disabled

Only they show which member an address belongs to. The reader is tolerant: whether a
configuration is right is for keepalived itself to say (keepalived.conf(5)).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address

from amphora.keepalived.blocks import Block, read_blocks
from amphora.lvs.ipvs_table import Endpoint, VirtualService
from amphora.models import IPAddress

#: Statements that replace the comments while the file is cut into blocks.
_DESCRIBES, _SWITCHES_OFF = "@describes", "@switches-off"
_DESCRIPTION = re.compile(rb"(?m)^[ \t]*#[ \t]*Configuration for (\w+) ([\w-]+)[ \t\r]*$")
_SWITCHED_OFF = re.compile(rb"(?m)^[ \t]*#[ \t]*(\w+) ([\w-]+) is disabled[ \t\r]*$")

_HIGHEST_PORT = 65535
_HIGHEST_WEIGHT = 65535


@dataclass(frozen=True, slots=True)
class LvsMember:
    """A member of a pool.

    :ivar endpoint: None if the member is disabled: its address is then not in the configuration.
    """

    id: str
    endpoint: Endpoint | None
    weight: int = 1


@dataclass(frozen=True, slots=True)
class LvsPool:
    """The pool behind a listener.

    :ivar monitored: whether a health monitor decides which members get traffic.
    """

    id: str
    monitored: bool
    members: tuple[LvsMember, ...]

    @property
    def enabled_members(self) -> tuple[LvsMember, ...]:
        """The enabled members."""
        return tuple(member for member in self.members if member.endpoint is not None)


@dataclass(frozen=True, slots=True)
class LvsConfiguration:
    """What we read of a configuration.

    :ivar listener: its id by the comments; empty if they name none.
    :ivar enabled: False if a comment says that the listener is disabled.
    :ivar services: what clients connect to, each once.
    :ivar pool: None if there is none or it is disabled.
    """

    listener: str
    enabled: bool
    services: tuple[VirtualService, ...]
    pool: LvsPool | None

    @property
    def addresses(self) -> frozenset[IPAddress]:
        """The virtual addresses."""
        return frozenset(service.endpoint.address for service in self.services)


def parse(data: bytes) -> LvsConfiguration:
    """Read a configuration; odd text never raises, and what cannot be read is left out."""
    marked = _SWITCHED_OFF.sub(
        rf"{_SWITCHES_OFF} \1 \2".encode(),
        _DESCRIPTION.sub(rf"{_DESCRIBES} \1 \2".encode(), data),
    )
    root = read_blocks(marked)
    everything = tuple(_whole(root))
    return LvsConfiguration(
        listener=next(_ids(everything, _DESCRIBES, "Listener"), ""),
        enabled=not any(_ids(everything, _SWITCHES_OFF, "Listener")),
        services=tuple(dict.fromkeys(_services(root))),
        pool=_pool(root, everything),
    )


def _whole(block: Block) -> Iterator[Block]:
    # Not by recursion: its sender decides how deep a file nests.
    waiting = [iter(block.children)]
    while waiting:
        child = next(waiting[-1], None)
        if child is None:
            waiting.pop()
        else:
            yield child
            waiting.append(iter(child.children))


def _ids(blocks: Iterable[Block], keyword: str, kind: str) -> Iterator[str]:
    return (block.words[2] for block in blocks if block.words[:2] == (keyword, kind))


def _services(root: Block) -> Iterator[VirtualService]:
    groups = {words[1]: block for block in root.all("virtual_server_group") if len(words := block.words) > 1}
    for server in root.all("virtual_server"):
        protocol = server.value("protocol").upper() or "TCP"
        words = server.words[1:]
        if words[:1] == ("group",):
            group = groups.get(words[1]) if len(words) > 1 else None
            lines = [child.words for child in group.children] if group else []
        else:
            lines = [words]
        for line in lines:
            endpoint = _endpoint(line)
            if endpoint is not None:
                yield VirtualService(protocol, endpoint)


def _pool(root: Block, everything: tuple[Block, ...]) -> LvsPool | None:
    # A pool with members of both IP versions is described once in each of two virtual servers.
    name = next(_ids(everything, _DESCRIBES, "Pool"), "")
    if not name or name in _ids(everything, _SWITCHES_OFF, "Pool"):
        return None
    members: dict[str, LvsMember] = {}
    for server in root.all("virtual_server"):
        for member in _members(server):
            members.setdefault(member.id, member)
    return LvsPool(name, any(_ids(everything, _DESCRIBES, "HealthMonitor")), tuple(members.values()))


def _members(server: Block) -> Iterator[LvsMember]:
    described = ""
    for child in server.children:
        if child.words[:2] == (_DESCRIBES, "Member"):
            described = child.words[2]
        elif child.words[:2] == (_SWITCHES_OFF, "Member"):
            yield LvsMember(child.words[2], None)
        elif child.keyword == "real_server":
            endpoint = _endpoint(child.words[1:])
            if described and endpoint is not None:
                yield LvsMember(described, endpoint, _number(child.value("weight"), _HIGHEST_WEIGHT, 1))
            described = ""


def _endpoint(words: tuple[str, ...]) -> Endpoint | None:
    if len(words) < 2:
        return None
    try:
        address = ip_address(words[0])
    except ValueError:
        return None
    port = _number(words[1], _HIGHEST_PORT, -1)
    return None if port < 0 else Endpoint(address, port)


def _number(text: str, highest: int, default: int) -> int:
    usable = text.isascii() and text.isdigit() and len(text) <= len(str(highest)) and int(text) <= highest
    return int(text) if usable else default
