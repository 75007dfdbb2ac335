# SPDX-License-Identifier: Apache-2.0
"""``amphora-health-checker``: keepalived asks it whether a member takes SCTP associations."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from amphora.errors import AmphoraError
from amphora.system.sctp import Reply, probe

_USAGE = "usage: amphora-health-checker sctp [-t <seconds>] <address> <port>"
_DEFAULT_TIMEOUT = 3.0
_STATUS = {Reply.ACCEPTED: 0, Reply.REFUSED: 1, Reply.NONE: 2, Reply.OTHER: 3}


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 if it does, 1 if it refuses, 2 if it says nothing, 3 if it says anything else.

    Whoever misuses the command gets 1 as well: such a check must not pass.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    timeout = _DEFAULT_TIMEOUT
    try:
        protocol, *rest = words
        if rest[:1] == ["-t"]:
            timeout, rest = float(rest[1]), rest[2:]
        address, port = rest
        number = int(port)
    except (ValueError, IndexError):
        print(_USAGE)
        return 1
    if protocol != "sctp":
        print(f"Unsupported protocol {protocol!r}; sctp is the only one")
        return 1
    try:
        return _STATUS[probe(address, number, timeout)]
    except AmphoraError as error:
        print(error.details)
        return 1


if __name__ == "__main__":
    sys.exit(main())
