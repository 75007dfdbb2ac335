# SPDX-License-Identifier: Apache-2.0
"""Which virtual addresses, on which interfaces, a keepalived configuration manages.

The reader is tolerant: whether a configuration is right is for keepalived itself to say.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_interface

from amphora.keepalived.blocks import Block, read_blocks
from amphora.models import IPInterface

_ADDRESS_LISTS = ("virtual_ipaddress", "virtual_ipaddress_excluded")
_DEFAULT_PRIORITY = 100
_DEFAULT_ADVERT_INTERVAL = 1.0


@dataclass(frozen=True, slots=True)
class VirtualAddress:
    """An address that keepalived puts on an interface while it is master.

    :ivar interface: empty where keepalived chooses it, as with ``use_vmac``.
    :ivar address: with prefix length 32 or 128 if none is written.
    """

    interface: str
    address: IPInterface


@dataclass(frozen=True, slots=True)
class VrrpInstance:
    """One ``vrrp_instance``.

    :ivar state: initial state as written, or BACKUP.
    :ivar router_id: ``virtual_router_id``, or None if it is missing or unreadable.
    :ivar advert_interval: seconds.
    :ivar addresses: the excluded ones too; they differ only in what adverts carry.
    """

    name: str
    interface: str
    state: str
    priority: int
    router_id: int | None
    advert_interval: float
    addresses: tuple[VirtualAddress, ...]

    @property
    def version(self) -> int | None:
        """The IP version that adverts are sent with: that of the first address."""
        return self.addresses[0].address.version if self.addresses else None


@dataclass(frozen=True, slots=True)
class KeepalivedConfiguration:
    """What we read of a keepalived.conf(5)."""

    instances: tuple[VrrpInstance, ...]

    @property
    def addresses(self) -> frozenset[VirtualAddress]:
        """The virtual addresses of all instances."""
        return frozenset(address for instance in self.instances for address in instance.addresses)


def parse(data: bytes) -> KeepalivedConfiguration:
    """Read a configuration; odd text never raises, and what cannot be read is left out."""
    root = read_blocks(data)
    return KeepalivedConfiguration(tuple(_instance(block) for block in root.all("vrrp_instance")))


def _instance(block: Block) -> VrrpInstance:
    return VrrpInstance(
        name=block.words[1] if len(block.words) > 1 else "",
        interface=block.value("interface"),
        state=block.value("state").upper() or "BACKUP",
        priority=_integer(block.value("priority"), _DEFAULT_PRIORITY) or _DEFAULT_PRIORITY,
        router_id=_integer(block.value("virtual_router_id"), None),
        advert_interval=_seconds(block.value("advert_int")),
        addresses=tuple(_addresses(block)),
    )


def _addresses(block: Block) -> Iterator[VirtualAddress]:
    # Addresses are then on an interface that keepalived makes for them.
    default = "" if block.all("use_vmac") or block.all("use_ipvlan") else block.value("interface")
    for group in (group for keyword in _ADDRESS_LISTS for group in block.all(keyword)):
        for line in group.children:
            try:
                address = ip_interface(line.keyword)
            except ValueError:
                continue
            yield VirtualAddress(_device(line.words) or default, address)


def _device(words: tuple[str, ...]) -> str:
    after = dict(zip(words, words[1:], strict=False))
    return after.get("dev", "")


def _integer(text: str, default: int | None) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else default


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        return _DEFAULT_ADVERT_INTERVAL
    return seconds if 0 < seconds < 1000 else _DEFAULT_ADVERT_INTERVAL
