# SPDX-License-Identifier: Apache-2.0
"""``lvs-masquerade``: address translation for one interface of the namespace it is called in."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from amphora.core.network.masquerade import IPFamily, Masquerade
from amphora.errors import AmphoraError
from amphora.system.command import CommandRunner
from amphora.system.nftables import Nftables

_USAGE = "usage: lvs-masquerade add|delete ipv4|ipv6 <interface> [sriov]"


def main(arguments: Sequence[str] | None = None) -> int:
    """Add or delete an interface; return 0, 1 when misused, or 2 when it could not be done."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    is_sriov = words[3:] == ["sriov"]
    known = len(words) == 3 + is_sriov and words[0] in ("add", "delete") and words[1] in ("ipv4", "ipv6")
    if not known:
        print(_USAGE, file=sys.stderr)
        return 1
    masquerade, family = Masquerade(Nftables(CommandRunner(), "")), IPFamily(words[1])
    try:
        if words[0] == "add":
            masquerade.add(family, words[2], is_sriov=is_sriov)
        else:
            masquerade.delete(family, words[2])
    except AmphoraError as error:
        print(f"lvs-masquerade: {error.details}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
