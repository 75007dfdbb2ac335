# SPDX-License-Identifier: Apache-2.0
"""Debian trees with other versions of haproxy, keepalived and Python, in which the tests run.

Each is built once by debootstrap from the mirror that this machine's apt reads, and kept in ``$LAB``
(``/tmp/lab`` unless LAB is set). The tests' own packages and environment come from ``run-tests``, so that its
set-up is tried on each platform too.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.nspawn import REPOSITORY, lab_directory

ENTER = REPOSITORY / "tests/platforms/enter"
#: The environment of the tests, within a tree.
VENV = "/opt/venv"

_BUILD_SECONDS = 1200
#: A mirror's newest state may be older than its validity; the packages are signed all the same.
_APT = 'Acquire::Check-Valid-Until "false";\nAPT::Sandbox::User "root";\nAPT::Install-Recommends "false";\n'
#: run-tests installs the rest itself.
_FIRST_PACKAGES = "ca-certificates,python3,iproute2"
_HOSTS = "127.0.0.1 localhost tree\n::1 localhost tree\n"


class TreeUnavailable(Exception):
    """A tree could not be made; the message says why and what to do."""


@dataclass(frozen=True)
class Tree:
    """One platform.

    :ivar suite: of Debian, as debootstrap knows it.
    :ivar newer: packages that are taken from experimental.
    """

    name: str
    suite: str
    newer: tuple[str, ...] = ()

    @property
    def root(self) -> Path:
        """Where it stands."""
        return lab_directory() / "platforms" / self.name


TREES = (
    Tree("bookworm", "bookworm"),
    Tree("trixie", "trixie"),
    Tree("sid", "sid"),
    Tree("experimental", "sid", ("haproxy",)),
)


def prepare(tree: Tree, log: Path, *, machines: bool) -> None:
    """Build a tree if it is missing, and bring its packages and environment up to what the tests need.

    :param log: what the commands print goes here.
    :param machines: with what booted machines need.
    :raises TreeUnavailable: with the last lines of what failed.
    """
    if not tree.root.is_dir():
        unfinished = tree.root.with_name(f"{tree.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        _build(tree, unfinished, log)
        unfinished.rename(tree.root)
    set_up = ("env", f"VENV={VENV}", "./run-tests")
    _run(log, *entered(tree, *set_up, "--version", online=True))
    if machines:
        # They stand on trees of their own, which need the mirror as well.
        fetch = (f"{VENV}/bin/python", "-m", "tests.platforms.machines", *tree.newer)
        _run(log, *entered(tree, *fetch, online=True))


def entered(tree: Tree, *command: str, online: bool = False) -> tuple[str, ...]:
    """Return the command that runs another one in a tree.

    :param online: with this machine's network, for what installs something.
    """
    return (str(ENTER), *(("--online",) if online else ()), str(tree.root), *command)


def _build(tree: Tree, root: Path, log: Path) -> None:
    mirror = _mirror()
    root.parent.mkdir(parents=True, exist_ok=True)
    include = f"--include={_FIRST_PACKAGES}"
    _run(log, "debootstrap", "--variant=minbase", include, tree.suite, str(root), mirror)
    (root / "etc/hosts").write_text(_HOSTS, encoding="ascii")
    (root / "etc/apt/apt.conf.d/90platforms").write_text(_APT, encoding="ascii")
    if tree.newer:
        sources = root / "etc/apt/sources.list.d/newer.list"
        sources.write_text(f"deb {mirror} experimental main\n", encoding="ascii")
        # A priority above that of the suite, for these alone.
        pin = "Pin: release a=experimental\nPin-Priority: 990\n"
        pins = "\n".join(f"Package: {name}\n{pin}" for name in tree.newer)
        (root / "etc/apt/preferences.d/newer").write_text(pins, encoding="ascii")


def _mirror() -> str:
    words = ("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages")
    found = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False).stdout.split()
    if not found:
        raise TreeUnavailable("this machine's apt names no mirror; add one to its sources.list")
    return found[0]


def _run(log: Path, *command: str) -> None:
    with log.open("ab") as output:
        try:
            done = subprocess.run(
                command,
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=_BUILD_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise TreeUnavailable(f"{' '.join(command)}: {error}") from error
    if done.returncode != 0:
        last = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
        raise TreeUnavailable(
            f"{' '.join(command)} ended with {done.returncode}; has the mirror moved on? It said:\n{last}"
        )
