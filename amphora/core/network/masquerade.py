# SPDX-License-Identifier: Apache-2.0
"""Address translation for listeners that the kernel itself balances (UDP and SCTP, by IP_VS).

Members have to answer by way of this amphora, so their packets come from its own address there. TCP, which
haproxy carries, does not need it, and its connections are not tracked.
"""

from __future__ import annotations

import re
from enum import Enum

from amphora.errors import InvalidInput
from amphora.system.nftables import Nftables

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,15}")

# Interfaces are elements of sets: adding one twice changes nothing, and one that goes leaves the others.
_TABLE = """\
table {family} {table} {{
    set masqueraded {{ type ifname; }}
    set untracked {{ type ifname; }}
    chain postrouting {{ type nat hook postrouting priority srcnat; policy accept; }}
    chain prerouting {{ type filter hook prerouting priority raw; policy accept; }}
    chain output {{ type filter hook output priority raw; policy accept; }}
}}
flush chain {family} {table} postrouting
flush chain {family} {table} prerouting
flush chain {family} {table} output
add rule {family} {table} postrouting oifname @masqueraded meta l4proto {{ udp, sctp }} masquerade
add rule {family} {table} prerouting iifname @untracked meta l4proto tcp notrack
add rule {family} {table} output oifname @untracked meta l4proto tcp notrack
add element {family} {table} masqueraded {{ "{interface}" }}
add element {family} {table} untracked {{ "{interface}" }}
"""
_WITHOUT = 'delete element {family} {table} {set_name} {{ "{interface}" }}\n'


class IPFamily(Enum):
    """The IP versions; the values are what scripts call them."""

    V4 = "ipv4"
    V6 = "ipv6"

    @property
    def nft_family(self) -> str:
        """What nft calls it."""
        return "ip" if self is IPFamily.V4 else "ip6"

    @property
    def version(self) -> int:
        """The number of it."""
        return 4 if self is IPFamily.V4 else 6


class Masquerade:
    """Translates addresses on interfaces of one namespace. Both methods may be repeated."""

    def __init__(self, nftables: Nftables) -> None:
        self._nftables = nftables

    def add(self, family: IPFamily, interface: str, *, is_sriov: bool = False) -> None:
        """Translate the addresses of UDP and SCTP packets that leave by an interface.

        :param is_sriov: whether it has packet filter rules, which need TCP to be tracked.
        :raises InvalidInput: no interface can have this name.
        :raises OperationFailed: nothing was changed.
        """
        text = self._with_interface(family, interface)
        if is_sriov:
            text += _without(family, interface, "untracked")
        self._nftables.apply(text)

    def delete(self, family: IPFamily, interface: str) -> None:
        """End the translation for an interface; others are not touched.

        :raises InvalidInput: no interface can have this name.
        :raises OperationFailed: nothing was changed.
        """
        text = self._with_interface(family, interface)
        self._nftables.apply(
            text + "".join(_without(family, interface, each) for each in ("masqueraded", "untracked"))
        )

    def _with_interface(self, family: IPFamily, interface: str) -> str:
        if not _NAME.fullmatch(interface):
            raise InvalidInput(f"{interface!r} is not a name for an interface")
        return _TABLE.format(family=family.nft_family, table=_table(family), interface=interface)


def _without(family: IPFamily, interface: str, set_name: str) -> str:
    return _WITHOUT.format(
        family=family.nft_family, table=_table(family), interface=interface, set_name=set_name
    )


def _table(family: IPFamily) -> str:
    return f"octavia-{family.value}"
