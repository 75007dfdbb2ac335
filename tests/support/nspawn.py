# SPDX-License-Identifier: Apache-2.0
"""Machines booted with systemd for tests: nspawn containers over one shared base tree.

Needs root and the packages debootstrap and systemd-container. The base tree takes most of a minute
to build, so it is kept for later runs in ``$LAB/base`` (``/tmp/lab/base`` unless LAB is set).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from amphora.system.processes import children_of

REPOSITORY = Path(__file__).resolve().parents[2]

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SUITE = "bookworm"
_PACKAGES = (
    "systemd,systemd-sysv,dbus,haproxy,keepalived,iproute2,python3,ifupdown,procps,iputils-ping,"
    "socat,curl,nftables,openssl"
)
_DISABLED = ("haproxy", "keepalived", "systemd-networkd", "e2scrub_reap")
# Otherwise the first boot waits two minutes for a network that nobody brings up.
_MASKED = (
    "systemd-networkd-wait-online.service",
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "fstrim.timer",
)
# Moves itself into the control groups before it becomes nspawn: two containers started from one group
# would take each other's services for their own.
_ENTER_GROUPS = 'for group in $GROUPS_TO_ENTER; do echo $$ > "$group/cgroup.procs"; done; exec "$@"'


def lab_directory() -> Path:
    """Return where the base tree and running machines are kept."""
    return Path(os.environ.get("LAB", "/tmp/lab"))


def base_tree(lab: Path) -> Path:
    """Return the tree that all machines share, built first if it is missing."""
    lab.mkdir(parents=True, exist_ok=True)
    base = lab / "base"
    with (lab / "base.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not base.is_dir():
            unfinished = lab / "base.unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            _build(unfinished)
            unfinished.rename(base)
    return base


def _build(tree: Path) -> None:
    _run("debootstrap", "--variant=minbase", f"--include={_PACKAGES}", _SUITE, str(tree), seconds=900)
    _run("systemctl", f"--root={tree}", "disable", *_DISABLED, seconds=60)
    _run("systemctl", f"--root={tree}", "mask", *_MASKED, seconds=60)
    (tree / "var/lib/dbus/machine-id").unlink(missing_ok=True)
    (tree / "etc/machine-id").write_text("", encoding="ascii")
    shutil.rmtree(tree / "var/cache/apt/archives", ignore_errors=True)


@contextlib.contextmanager
def booted_machine(name: str, extra_binds: Sequence[Path] = ()) -> Iterator[Machine]:
    """Boot a machine that sees this repository and this Python, read-only, at their own paths.

    :param name: made unique by the process id.
    """
    machine = Machine(base_tree(lab_directory()), f"{name}-{os.getpid()}")
    binds = dict.fromkeys(Path(path) for path in (sys.base_prefix, sys.prefix, REPOSITORY, *extra_binds))
    try:
        machine.boot([path for path in binds if not path.is_relative_to("/usr")])
        yield machine
    finally:
        machine.destroy()


class Machine:
    """One container: an overlay over the base tree, its own network, process ids and control groups."""

    def __init__(self, base: Path, name: str) -> None:
        self.name = name
        self.leader = 0
        self._base = base
        self._directory = lab_directory() / name
        self._root = self._directory / "root"
        self._groups = [group / name for group in _group_roots()]
        self._binds: Sequence[Path] = ()
        self._nspawn: subprocess.Popen[bytes] | None = None

    def boot(self, binds: Sequence[Path]) -> None:
        """Start the machine and wait until systemd says that it is up."""
        self._binds = binds
        if not self._root.is_mount():
            self._mount()
        for group in self._groups:
            group.mkdir(exist_ok=True)
        options = ["--private-network", "--register=no", "--keep-unit", "--console=pipe"]
        shares = [f"--bind-ro={path}" for path in binds]
        nspawn = ["systemd-nspawn", "-q", "-D", str(self._root), "--boot", *options, f"--machine={self.name}"]
        with self.console.open("wb") as console:
            self._nspawn = subprocess.Popen(
                ["sh", "-c", _ENTER_GROUPS, "sh", *nspawn, *shares],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env={"PATH": _PATH, "GROUPS_TO_ENTER": " ".join(str(group) for group in self._groups)},
                start_new_session=True,
            )
        self._wait_for_systemd(self._nspawn)

    def reboot(self) -> None:
        """Restart the machine in good order: ``/run`` is new, ``/etc`` and ``/var`` stay."""
        self.run("systemctl", "reboot")
        if self._nspawn is not None:
            self._nspawn.wait(timeout=30)
        self.leader = 0
        self.boot(self._binds)

    @property
    def console(self) -> Path:
        """What the machine printed while booting."""
        return self._directory / "console.log"

    def run(self, *argv: str, seconds: float = 60.0, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command inside, output and errors together in ``stdout``."""
        clean = ["env", "-i", f"PATH={_PATH}", "HOME=/root", "LC_ALL=C.UTF-8"]
        clean += [f"{name}={value}" for name, value in environment.items()]
        return subprocess.run(
            ["nsenter", "-t", str(self.leader), "-a", *clean, *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
        )

    def destroy(self) -> None:
        """Shut the machine down, by force if need be, and remove all of it."""
        if self._nspawn is not None:
            self._shut_down(self._nspawn)
        if self._root.is_mount():
            _run("umount", str(self._root), seconds=30)
        for group in self._groups:
            _remove_group(group)
        shutil.rmtree(self._directory, ignore_errors=True)
        shutil.rmtree(Path("/run/systemd/nspawn/propagate", self.name), ignore_errors=True)

    def _mount(self) -> None:
        upper, work = self._directory / "upper", self._directory / "work"
        for directory in (upper, work, self._root):
            directory.mkdir(parents=True)
        options = f"lowerdir={self._base},upperdir={upper},workdir={work}"
        _run("mount", "-t", "overlay", self.name, "-o", options, str(self._root), seconds=30)

    def _wait_for_systemd(self, nspawn: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + 30
        while not Path(f"/proc/{self.leader}/root/run/systemd/private").exists():
            if nspawn.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} did not boot:\n{self.console.read_text(errors='replace')}")
            self.leader = next(iter(children_of(nspawn.pid)), 0)
            time.sleep(0.05)
        state = self.run("systemctl", "is-system-running", "--wait").stdout.strip()
        if state not in ("running", "degraded"):
            raise RuntimeError(f"{self.name} is {state}")

    def _shut_down(self, nspawn: subprocess.Popen[bytes]) -> None:
        # nspawn turns it into an orderly shutdown; killing the leader ends everything inside at once.
        nspawn.send_signal(signal.SIGTERM)
        try:
            nspawn.wait(timeout=10)
        except subprocess.TimeoutExpired:
            for pid in (self.leader, nspawn.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            nspawn.wait(timeout=10)


def _group_roots() -> list[Path]:
    candidates = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup/systemd"))
    return [root for root in candidates if (root / "cgroup.procs").exists()]


def _remove_group(group: Path) -> None:
    deadline = time.monotonic() + 5
    while group.is_dir() and time.monotonic() < deadline:
        for directory, _, _ in os.walk(group, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(directory)
        if group.is_dir():
            time.sleep(0.05)


def _run(*argv: str, seconds: float) -> None:
    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)} failed with {done.returncode}:\n{done.stdout[-4000:]}")
