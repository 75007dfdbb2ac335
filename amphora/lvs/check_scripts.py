# SPDX-License-Identifier: Apache-2.0
"""Scripts that keepalived runs: for a UDP member, and for all LVS listeners of this node."""

from __future__ import annotations

import shlex
from pathlib import Path

#: For bash(1), whose ``/dev/udp`` needs no further program in the image. A silent member counts as up,
#: since few protocols answer a malformed datagram. Controllers' configurations name its path.
UDP_CHECK = b"""\
#!/bin/bash
# Written by amphora-agent. udp_check.sh ADDRESS PORT: fails if the member's system refuses datagrams there.
exec 3<>"/dev/udp/$1/$2" || exit 1
for _ in 1 2; do
    printf X >&3 || exit 1
    # Reading is silent unless the kernel reports an error: neither an answer nor none is one.
    complaint=$(read -r -t 0.5 -n 1 -u 3 2>&1)
    [ -z "$complaint" ] || exit 1
done
exit 0
"""

# keepalived's child processes have files with one more dot in their names; one that is stopped removes them.
_NODE_CHECK = """\
#!/bin/bash
# Written by amphora-agent. Counts the listeners whose keepalived has ended without being stopped.
failures=0
for file in {directory}/*.pid; do
    name=${{file##*/}}
    case ${{name%.pid}} in *.*) continue ;; esac
    [ -f "$file" ] || continue
    pid= comm=
    read -r pid <"$file"
    read -r comm 2>/dev/null <"/proc/$pid/comm"
    [ -n "$pid" ] && [ "$comm" = keepalived ] || failures=$((failures + 1))
done
exit $((failures > 255 ? 255 : failures))
"""


def render_node_check(directory: Path) -> str:
    """Return the script that fails while a listener's keepalived has ended without being stopped.

    :param directory: holds the pid files of all listeners.
    """
    return _NODE_CHECK.format(directory=shlex.quote(str(directory)))
