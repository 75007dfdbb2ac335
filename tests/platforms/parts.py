# SPDX-License-Identifier: Apache-2.0
"""What is run in each tree, and what came of it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.platforms.trees import TREES, VENV, Tree, entered
from tests.support.nspawn import REPOSITORY

_SIDE_BY_SIDE = ("-n", "3", "--dist", "loadfile")
#: The last line that pytest prints.
_CLOSING = re.compile(r"(?:=+ )?(?:\d+ failed, )?(\d+) passed\b.* in \d", re.ASCII)
_PATH = f"{VENV}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_VERSIONS = {
    "haproxy": (("haproxy", "-v"), re.compile(r"HAProxy version (\d+\.\d+\.\d+)")),
    "keepalived": (("keepalived", "--version"), re.compile(r"Keepalived v(\d+\.\d+\.\d+)")),
    "Python": ((f"{VENV}/bin/python", "--version"), re.compile(r"Python (\d+\.\d+\.\d+)")),
    "systemd": (("systemctl", "--version"), re.compile(r"systemd (\d+)")),
}


@dataclass(frozen=True)
class Part:
    """One command of a run."""

    name: str
    command: tuple[str, ...]


@dataclass(frozen=True)
class Exclusion:
    """A test that cannot run in some trees.

    :ivar test: as pytest's ``--deselect`` takes it: the beginning of its id.
    """

    test: str
    trees: tuple[str, ...]
    reason: str


@dataclass
class Outcome:
    """What came of one tree.

    :ivar missing: why it could not be made; empty where it could.
    :ivar passed: name of a part that passed to the number of its tests; the demo has none.
    :ivar passed_again: tests that passed only when run once more.
    :ivar left_out: tests that cannot run there.
    :ivar broken: parts that failed.
    """

    tree: Tree
    missing: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    passed: dict[str, int] = field(default_factory=dict)
    passed_again: int = 0
    left_out: list[Exclusion] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    @property
    def may_be_missing(self) -> bool:
        """Whether it could not be made, which fails no run: but for the oldest, mirrors move on."""
        return bool(self.missing) and self.tree != TREES[0]

    @property
    def succeeded(self) -> bool:
        """Whether everything was run there, and passed."""
        return not self.missing and not self.broken

    def __str__(self) -> str:
        if self.missing:
            return f"{self.tree.name}: NOT RUN: {self.missing}"
        versions = ", ".join(f"{program} {version}" for program, version in self.versions.items())
        verdict = f"FAILED in {', '.join(self.broken)}" if self.broken else "passed"
        again = f", {self.passed_again} of them when run again" if self.passed_again else ""
        return f"{self.tree.name} ({versions}): {verdict}; {sum(self.passed.values())} tests passed{again}"


#: Nothing is left out but what stands here.
EXCLUSIONS: tuple[Exclusion, ...] = ()


_AND_AGAIN = ("tools/pytest-and-again", "-q")


def _pytest(name: str, *arguments: str) -> Part:
    return Part(name, (*_AND_AGAIN, *arguments))


WHOLE = (
    _pytest("unit and API", *_SIDE_BY_SIDE, "tests/unit", "tests/api"),
    _pytest("contract", "-m", "not slow", *_SIDE_BY_SIDE, "tests/contract"),
    _pytest("functional", "-m", "not slow and not alone", *_SIDE_BY_SIDE, "tests/functional"),
    # What the machine does besides is to wait.
    Part("timing", ("nice", "-n", "-15", *_AND_AGAIN, "-m", "not slow and alone", "tests/functional")),
    _pytest("faults", "-m", "not slow", *_SIDE_BY_SIDE, "tests/faults"),
    _pytest("200 reloads", "-m", "slow", "tests/functional/agent/test_many_reloads.py"),
    # What run-demo runs once it has installed the project.
    Part("demo", ("python", "-m", "demo", "--once")),
)
#: Reload under load, failed reload, restore, adoption, VRRP; reading a configuration and its needs.
_SAMPLED = (
    "agent/test_many_reloads.py",
    "agent/test_failed_changes.py",
    "agent/test_boot.py",
    "agent/test_pair.py",
    "haproxy/test_socketless_master.py",
    "haproxy/test_reading.py",
    "haproxy/test_capacity.py",
    "health/test_statistics.py",
    "keepalived/test_keepalived_of_others.py",
)
SAMPLE = (
    _pytest("sample", "-m", "not slow", *_SIDE_BY_SIDE, *(f"tests/functional/{name}" for name in _SAMPLED)),
)


def run_parts(tree: Tree, parts: Iterable[Part]) -> Outcome:
    """Run parts in a tree that is prepared; what they print is printed here."""
    left_out = [exclusion for exclusion in EXCLUSIONS if tree.name in exclusion.trees]
    outcome = Outcome(tree, versions=_versions(tree), left_out=left_out)
    for exclusion in left_out:
        print(f"Not run in {tree.name}: {exclusion.test}: {exclusion.reason}")
    deselect = [word for exclusion in left_out for word in ("--deselect", exclusion.test)]
    for part in parts:
        print(f"\n== {tree.name}: {part.name}", flush=True)
        command = (*part.command, *(deselect if _AND_AGAIN[0] in part.command else ()))
        lines, status = _streamed(entered(tree, "env", f"PATH={_PATH}", f"VENV={VENV}", *command))
        passed = [int(match[1]) for line in lines if (match := _CLOSING.match(line))]
        outcome.passed_again += sum(passed[1:])
        if status == 0:
            outcome.passed[part.name] = sum(passed)
        else:
            outcome.broken.append(part.name)
    return outcome


def _streamed(command: tuple[str, ...]) -> tuple[list[str], int]:
    lines = []
    with subprocess.Popen(
        command,
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        for line in process.stdout or ():
            sys.stdout.write(line)
            sys.stdout.flush()
            lines.append(line)
    return lines, process.returncode


def _versions(tree: Tree) -> dict[str, str]:
    found = {}
    for name, (command, pattern) in _VERSIONS.items():
        inside = entered(tree, *command)
        done = subprocess.run(inside, capture_output=True, text=True, timeout=60, check=False)
        match = pattern.search(done.stdout + done.stderr)
        found[name] = match[1] if match else "?"
    return found
