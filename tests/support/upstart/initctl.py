# SPDX-License-Identifier: Apache-2.0
"""The client: ``initctl.py SOCKET NAME-IT-WAS-CALLED-BY [arguments]``. Standard library only."""

from __future__ import annotations

import json
import socket
import sys


def main(path: str, called: str, arguments: list[str]) -> int:
    """Ask init, print what it says, return the exit status."""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(path)
        except OSError:
            print(
                f"{called}: Unable to connect to Upstart: Failed to connect to socket "
                "/com/ubuntu/upstart: Connection refused",
                file=sys.stderr,
            )
            return 1
        connection.sendall(json.dumps({"as": called, "arguments": arguments}).encode() + b"\n")
        line = connection.makefile("rb").readline()
    if not line:
        print(f"{called}: Disconnected from Upstart", file=sys.stderr)
        return 1
    answer = json.loads(line)
    if answer["out"]:
        print(answer["out"])
    if answer["error"]:
        print(answer["error"], file=sys.stderr)
    return int(answer["status"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
