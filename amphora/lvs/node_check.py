# SPDX-License-Identifier: Apache-2.0
"""The script that asks whether every LVS listener of this node still runs; keepalived for VRRP runs it."""

from __future__ import annotations

import shlex
from pathlib import Path

# keepalived's child processes have files with one more dot in their names; whoever is stopped removes them.
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
    """Return the script.

    :param directory: holds the pid files of all listeners.
    """
    return _NODE_CHECK.format(directory=shlex.quote(str(directory)))
