# SPDX-License-Identifier: Apache-2.0
"""Booted machines for tests: nspawn containers over one shared base tree for each init system.

Needs root and the packages debootstrap and systemd-container. A base tree takes most of a minute to
build, so it is kept for later runs in ``$LAB`` (``/tmp/lab`` unless LAB is set).
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
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from amphora.system.command import SEARCH_PATH
from amphora.system.processes import children_of
from tests.support.inits import Init, built_tree, command, init_named

REPOSITORY = Path(__file__).resolve().parents[2]

#: Exit status of nspawn when the machine asks for a restart.
_REBOOT_WANTED = 133
# Moves itself into the control groups before it becomes nspawn: two containers started from one group
# would take each other's services for their own.
_ENTER_GROUPS = 'for group in $GROUPS_TO_ENTER; do echo $$ > "$group/cgroup.procs"; done; exec "$@"'


def lab_directory() -> Path:
    """Return where the base tree and running machines are kept."""
    return Path(os.environ.get("LAB", "/tmp/lab"))


def base_tree(lab: Path, init: Init) -> Path:
    """Return the tree that all machines of an init system share, built first if it is missing."""
    lab.mkdir(parents=True, exist_ok=True)
    base = lab / init.tree
    with (lab / f"{init.tree}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not base.is_dir():
            built_tree(init, base)
    return base


@contextlib.contextmanager
def booted_machine(
    name: str,
    extra_binds: Sequence[Path] = (),
    init: str = "systemd",
    plug: Callable[[int], None] = lambda _leader: None,
) -> Iterator[Machine]:
    """Boot a machine that sees this repository and this Python, read-only, at their own paths.

    :param name: made unique by the process id.
    :param init: ``systemd``, ``sysvinit``, ``upstart`` (emulated) or ``none``.
    :param plug: called at each boot as soon as the init runs, with its process id; gives the machine its
        links, which end with it.
    """
    kind = init_named(init)
    machine = Machine(base_tree(lab_directory(), kind), f"{name}-{os.getpid()}", kind, plug)
    binds = dict.fromkeys((Path(sys.base_prefix), Path(sys.prefix), REPOSITORY, *extra_binds))
    try:
        machine.boot([path for path in binds if not path.is_relative_to("/usr")])
        yield machine
    finally:
        machine.destroy()


class Machine:
    """One container: an overlay over the base tree, its own network, process ids and control groups."""

    def __init__(
        self, base: Path, name: str, init: Init, plug: Callable[[int], None] = lambda _leader: None
    ) -> None:
        self.name = name
        self.leader = 0
        self._init = init
        self._plug = plug
        self._base = base
        self._directory = lab_directory() / name
        self._root = self._directory / "root"
        self._groups = [group / name for group in _group_roots()]
        self._binds: Sequence[Path] = ()
        self._nspawn: subprocess.Popen[bytes] | None = None

    def boot(self, binds: Sequence[Path]) -> None:
        """Start the machine and wait until its init says that it is up."""
        self._binds = binds
        if not self._root.is_mount():
            self._mount()
        for group in self._groups:
            group.mkdir(exist_ok=True)
        options = ["--private-network", "--register=no", "--keep-unit", "--console=pipe"]
        options += [f"--setenv=PYTHONPATH={REPOSITORY}", *self._init.nspawn_options]
        shares = [f"--bind-ro={path}" for path in binds]
        nspawn = ["systemd-nspawn", "-q", "-D", str(self._root), *options, f"--machine={self.name}"]
        with self.console.open("wb") as console:
            self._nspawn = subprocess.Popen(
                ["sh", "-c", _ENTER_GROUPS, "sh", *nspawn, *shares, *self._init.program],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env={"PATH": SEARCH_PATH, "GROUPS_TO_ENTER": " ".join(str(group) for group in self._groups)},
                start_new_session=True,
            )
        self._wait_for_init(self._nspawn)

    def reboot(self) -> None:
        """Restart the machine in good order: ``/run`` is new, ``/etc`` and ``/var`` stay."""
        self.run(*self._init.reboot_command)
        if self._nspawn is not None:
            ended = self._nspawn.wait(timeout=60)
            if ended != _REBOOT_WANTED:
                raise RuntimeError(f"{self.name} ended with {ended} instead of rebooting")
        self._boot_again()

    def power_cut(self) -> None:
        """End everything inside at once, as a failing host does, and boot again."""
        os.kill(self.leader, signal.SIGKILL)
        if self._nspawn is not None:
            self._nspawn.wait(timeout=60)
        self._boot_again()

    def _boot_again(self) -> None:
        self.leader = 0
        self.boot(self._binds)

    @property
    def console(self) -> Path:
        """What the machine printed while booting."""
        return self._directory / "console.log"

    def run(self, *argv: str, seconds: float = 60.0, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command inside, output and errors together in ``stdout``."""
        clean = ["env", "-i", f"PATH={SEARCH_PATH}", "HOME=/root", "LC_ALL=C.UTF-8"]
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
            command("umount", str(self._root), seconds=30)
        for group in self._groups:
            _remove_group(group)
        shutil.rmtree(self._directory, ignore_errors=True)
        shutil.rmtree(Path("/run/systemd/nspawn/propagate", self.name), ignore_errors=True)

    def _mount(self) -> None:
        upper, work = self._directory / "upper", self._directory / "work"
        for directory in (upper, work, self._root):
            directory.mkdir(parents=True)
        options = f"lowerdir={self._base},upperdir={upper},workdir={work}"
        command("mount", "-t", "overlay", self.name, "-o", options, str(self._root), seconds=30)

    def _wait_for_init(self, nspawn: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + 60
        while not (_is_inside(self.leader) and self._init.listens(self.leader)):
            self._give_up_if(nspawn.poll() is not None or time.monotonic() > deadline)
            self.leader = next(iter(children_of(nspawn.pid)), 0)
            time.sleep(0.05)
        self._plug(self.leader)
        while not self._init.is_up(self.run(*self._init.state_command).stdout.strip()):
            self._give_up_if(nspawn.poll() is not None or time.monotonic() > deadline)
            time.sleep(0.05)

    def _give_up_if(self, hopeless: bool) -> None:
        if hopeless:
            raise RuntimeError(f"{self.name} did not boot:\n{self.console.read_text(errors='replace')}")

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


def _is_inside(leader: int) -> bool:
    """Whether this is the machine's init, and not what nspawn forks on the way to it."""
    try:
        return os.readlink(f"/proc/{leader}/ns/pid") != os.readlink("/proc/self/ns/pid")
    except OSError:
        return False


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
