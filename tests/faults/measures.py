# SPDX-License-Identifier: Apache-2.0
"""What an agent and its haproxies hold of the machine."""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from amphora.system.processes import parent_of, process_ids, read_pid_file

#: Names under which something is there only while a change is under way.
_PASSING = re.compile(r"\.amphora-tmp-|\.(new|received|former|refused)$")


@dataclass(frozen=True)
class Holdings:
    """At one moment.

    :ivar pss: MiB of memory, shared pages counted in part.
    :ivar files: all below the agent's directory.
    :ivar passing: those of them that no change at rest leaves.
    """

    descriptors: int
    threads: int
    pss: float
    files: int
    passing: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"{self.descriptors} descriptors, {self.threads} threads, {self.pss:.1f} MiB, "
            f"{self.files} files, {len(self.passing)} temporary ones"
        )


def holdings(agent) -> Holdings:
    """Return what the agent holds now."""
    process = Path(f"/proc/{agent.pid}")
    found = [path for path in agent.directory.rglob("*") if not path.is_dir()]
    return Holdings(
        len(os.listdir(process / "fd")),
        len(os.listdir(process / "task")),
        pss(agent.pid),
        len(found),
        tuple(path.name for path in found if _PASSING.search(path.name)),
    )


def pss(pid) -> float:
    """Return MiB of memory of a process, shared pages counted in part."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(r"^Pss:\s+(\d+)", rollup, re.MULTILINE)[1]) / 1024


def workers(agent, identity) -> int:
    """Return how many workers an instance has, those that only finish their connections included."""
    return most_workers(agent, [identity])


def most_workers(agent, identities) -> int:
    """Return the greatest number of workers that one of several instances has, by one look."""
    masters = {read_pid_file(agent.base_path / each / f"{each}.pid") for each in identities} - {None}
    parents = Counter(parent_of(pid) for pid in process_ids())
    return max((parents[master] for master in masters), default=0)
