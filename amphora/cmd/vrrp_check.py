# SPDX-License-Identifier: Apache-2.0
"""``haproxy-vrrp-check``: whether every haproxy of this node answers; keepalived asks every few seconds."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from amphora.errors import ControlSocketError
from amphora.haproxy.control.control_socket import ask

_TIMEOUT = 5.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 if each of the stats sockets that are named gives an answer, else 1."""
    for path in sys.argv[1:] if arguments is None else arguments:
        try:
            ask(Path(path), "show stat -1 -1 -1", _TIMEOUT)
        except ControlSocketError as error:
            print(error, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
