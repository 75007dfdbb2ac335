# SPDX-License-Identifier: Apache-2.0
"""The init systems that nspawn machines boot: how each one's tree is built, and how it is spoken to."""

from __future__ import annotations

import abc
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from amphora.system.command import SEARCH_PATH

HERE = Path(__file__).resolve().parent

_BUILD_SECONDS = 900
#: What the tests need inside, whichever init runs.
_COMMON = "haproxy,keepalived,iproute2,python3,ifupdown,procps,iputils-ping,socat,curl,nftables,openssl"


class Init(abc.ABC):
    """One init system.

    :cvar name: as tests ask for it.
    :cvar tree: name of its base tree below the lab directory.
    :cvar nspawn_options: what nspawn needs for it.
    :cvar program: what nspawn runs where that is not the tree's own init.
    """

    name: str
    tree: str
    nspawn_options: tuple[str, ...] = ("--boot",)
    program: tuple[str, ...] = ()

    @abc.abstractmethod
    def build(self, tree: Path) -> None:
        """Build the base tree in a directory that does not exist yet."""

    @abc.abstractmethod
    def listens(self, leader: int) -> bool:
        """Whether the init has come so far that it can be asked for more."""

    @abc.abstractmethod
    def is_up(self, output: str) -> bool:
        """Whether the machine is up, by what :attr:`state_command` printed."""

    @property
    @abc.abstractmethod
    def state_command(self) -> tuple[str, ...]:
        """Command that prints the machine's state; it may wait."""

    @property
    @abc.abstractmethod
    def reboot_command(self) -> tuple[str, ...]:
        """Command that restarts the machine in good order."""


class Systemd(Init):
    """systemd; an orderly boot ends ``running``, or ``degraded`` for a service that a container lacks."""

    name = "systemd"
    tree = "base"
    state_command: tuple[str, ...] = ("systemctl", "is-system-running", "--wait")
    reboot_command: tuple[str, ...] = ("systemctl", "reboot")

    _disabled = ("haproxy", "keepalived", "systemd-networkd", "e2scrub_reap")
    # Otherwise the first boot waits two minutes for a network that never comes up.
    _masked = (
        "systemd-networkd-wait-online.service",
        "apt-daily.timer",
        "apt-daily-upgrade.timer",
        "dpkg-db-backup.timer",
        "e2scrub_all.timer",
        "fstrim.timer",
    )

    def build(self, tree: Path) -> None:
        """See the base class."""
        packages = f"systemd,systemd-sysv,dbus,{_COMMON}"
        command("debootstrap", "--variant=minbase", f"--include={packages}", _suite(), str(tree))
        # Which of them there are depends on the suite.
        present = [name for name in self._disabled if (tree / f"lib/systemd/system/{name}.service").exists()]
        command("systemctl", f"--root={tree}", "disable", *present)
        command("systemctl", f"--root={tree}", "mask", *self._masked)
        (tree / "var/lib/dbus/machine-id").unlink(missing_ok=True)
        (tree / "etc/machine-id").write_text("", encoding="ascii")

    def listens(self, leader: int) -> bool:
        """See the base class."""
        return Path(f"/proc/{leader}/root/run/systemd/private").exists()

    def is_up(self, output: str) -> bool:
        """See the base class."""
        return output in ("running", "degraded")


class Sysvinit(Init):
    """sysvinit with Debian's boot scripts; scripts of runlevel 2 may still run when it counts as up."""

    name = "sysvinit"
    tree = "sysvinit"
    # SIGTERM to nspawn then is to init what ctrl-alt-del is.
    nspawn_options = ("--kill-signal=SIGINT",)
    # Where a package brings systemd as well, --boot would boot that.
    program = ("/sbin/init",)
    state_command = ("runlevel",)
    reboot_command = ("reboot",)

    def build(self, tree: Path) -> None:
        """See the base class."""
        packages = f"sysvinit-core,sysv-rc,initscripts,insserv,startpar,{_COMMON}"
        options = ("--variant=minbase", "--exclude=systemd,systemd-sysv", f"--include={packages}")
        command("debootstrap", *options, _suite(), str(tree))
        inittab = tree / "etc/inittab"
        # They would be started over and over, as there is no terminal.
        lines = [line for line in inittab.read_text(encoding="ascii").splitlines() if "getty" not in line]
        inittab.write_text("\n".join((*lines, "")), encoding="ascii")
        for service in ("haproxy", "keepalived"):
            command("chroot", str(tree), "update-rc.d", service, "disable")

    def listens(self, leader: int) -> bool:
        """See the base class."""
        return Path(f"/proc/{leader}/root/run/initctl").is_fifo()

    def is_up(self, output: str) -> bool:
        """See the base class."""
        return output == "N 2"


class Bare(Systemd):
    """A container that runs one command; process 1 is nspawn's own, which only reaps (--as-pid2).

    The command is an entry point as container images have it: it runs the agent again whenever it ends.
    """

    name = "none"
    nspawn_options = ("--as-pid2",)
    program: tuple[str, ...] = ("/bin/sh", str(HERE / "entry_point"))
    state_command = ("cat", "/run/entered")
    # It takes this signal for a wish to restart (systemd-nspawn(1)): SIGRTMIN+5.
    reboot_command = ("kill", "-39", "1")

    def listens(self, leader: int) -> bool:
        """See the base class."""
        return Path(f"/proc/{leader}/root/run/entered").exists()

    def is_up(self, output: str) -> bool:
        """See the base class."""
        return output == "yes"


class Upstart(Bare):
    """A container whose command is the emulator of upstart's init."""

    name = "upstart"
    program = (sys.executable, "-m", "tests.support.upstart.boot")
    # Answered once the boot's events have been emitted.
    state_command = ("initctl", "version")

    def is_up(self, output: str) -> bool:
        """See the base class."""
        return output.startswith("init (upstart")


def all_inits() -> tuple[Init, ...]:
    """Return each init system that a machine can boot."""
    return (Systemd(), Sysvinit(), Bare(), Upstart())


def init_named(name: str) -> Init:
    """Return the init system of this name.

    :raises ValueError: there is no such one.
    """
    for init in all_inits():
        if init.name == name:
            return init
    raise ValueError(f"no machine boots {name}")


def _suite() -> str:
    """Return this machine's suite of Debian: machines run its Python by its libraries."""
    if Path("/etc/debian_version").read_text(encoding="ascii").strip().endswith("/sid"):
        return "sid"
    return platform.freedesktop_os_release()["VERSION_CODENAME"]


def command(*argv: str, seconds: float = _BUILD_SECONDS) -> None:
    """Run a command that must succeed.

    :raises RuntimeError: with the end of what it printed.
    """
    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
        check=False,
        env={**os.environ, "PATH": SEARCH_PATH, "LC_ALL": "C.UTF-8"},
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)} failed with {done.returncode}:\n{done.stdout[-4000:]}")


def built_tree(init: Init, tree: Path) -> None:
    """Build a base tree; it appears under its name only once it is whole."""
    unfinished = tree.with_name(f"{tree.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    init.build(unfinished)
    shutil.rmtree(unfinished / "var/cache/apt/archives", ignore_errors=True)
    unfinished.rename(tree)
