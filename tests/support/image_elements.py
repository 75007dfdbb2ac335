# SPDX-License-Identifier: Apache-2.0
"""Runs the scripts of diskimage-builder elements in a tree, in the order and surroundings of a build.

diskimage-builder's own programs run them. Left out is what costs minutes and is not ours: bootstrapping
the tree and installing packages. Both are done once and kept in ``$LAB``; each tree is an overlay over
that. Mounts live in a mount namespace of the one command, so none is ever left behind.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import yaml

from tests.support.inits import init_named
from tests.support.nspawn import REPOSITORY, base_tree

ELEMENTS = REPOSITORY / "elements"
SCRIPTS = Path(sys.executable).parent
PHASES = ("pre-install.d", "install.d", "post-install.d")

#: Elements of diskimage-builder that ours depend on and whose parts are used here.
_FOREIGN = ("cache-url", "manifests", "source-repositories", "sysctl")
_INSIDE = "/tmp/in_target.d"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_MOUNTS = """\
mount -t overlay image -o "lowerdir=$LOWER,upperdir=$UPPER,workdir=$WORK" "$ROOT"
mount -t proc proc "$ROOT/proc"
mount --bind /dev "$ROOT/dev"
if [ -n "$HOOKS" ]; then
    mkdir -p "$ROOT/tmp/in_target.d"
    mount --bind "$HOOKS" "$ROOT/tmp/in_target.d"
fi
exec "$@"
"""
# Runs as root anyway; diskimage-builder calls sudo even so, and it need not be there.
_NO_SUDO = '#!/bin/sh\nwhile [ "${1#-}" != "$1" ]; do shift; done\nexec env "$@"\n'


def diskimage_builder() -> Path:
    """Return where diskimage-builder's own elements and programs are."""
    spec = importlib.util.find_spec("diskimage_builder")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("diskimage-builder is not installed")
    return Path(next(iter(spec.submodule_search_locations)))


def packages_of_elements() -> list[str]:
    """Return the distribution packages that our elements ask for."""
    files = ELEMENTS.glob("*/package-installs.yaml")
    return sorted({name for file in files for name in yaml.safe_load(file.read_text())})


class Tree:
    """A root file system: what is changed in it goes to ``upper``, the layers below stay as they are."""

    def __init__(self, directory: Path, layers: Iterable[Path], hooks: Path | None = None) -> None:
        self.upper, self.root, self.hooks = directory / "upper", directory / "root", hooks
        self.layers = list(layers)
        work = directory / "work"
        for path in (self.upper, self.root, work):
            path.mkdir(parents=True)
        self._environment = {
            "PATH": _PATH,
            "LOWER": ":".join(str(layer) for layer in self.layers),
            "UPPER": str(self.upper),
            "WORK": str(work),
            "ROOT": str(self.root),
            "HOOKS": str(hooks or ""),
        }

    def run_outside(self, *argv: str, **environment: str) -> str:
        """Run a command of this machine that sees the tree at ``root``; return what it printed."""
        full = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", _MOUNTS, "sh", *argv]
        return run(full, self._environment | environment)

    def run(self, *argv: str, **environment: str) -> str:
        """Run a command of the tree inside it; return what it printed."""
        path = f"PATH={_PATH}:{_INSIDE}/bin"
        clean = ["env", "-i", path, "HOME=/root", "LC_ALL=C.UTF-8"]
        clean += [f"{name}={value}" for name, value in environment.items()]
        return self.run_outside("chroot", str(self.root), *clean, *argv)


def run(argv: Iterable[str], environment: Mapping[str, str], seconds: float = 300) -> str:
    """Run a command to its end; its output is part of the failure if it fails."""
    done = subprocess.run(
        list(argv),
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, f"exit status {done.returncode}:\n{done.stdout[-6000:]}"
    return done.stdout


class Build:
    """One build: the elements' scripts merged as diskimage-builder does, and the tree they work on."""

    def __init__(self, lab: Path, directory: Path, options: Mapping[str, str]) -> None:
        self._options = {"IMAGE_NAME": "image", **options}
        # source-repositories takes what follows the dot for the name of the build.
        self._directory = directory / "dib_build.tests"
        hooks = self._directory / "hooks"
        _merge_elements(hooks)
        self.tree = Tree(self._directory, layers(lab), hooks)

    def run(self) -> str:
        """Run every phase, as a build does; return what the scripts printed."""
        output = self.tree.run_outside(*self._parts("extra-data.d", self.tree.hooks), **self._outside())
        for phase in PHASES:
            output += self.tree.run(*self._parts(phase, Path(_INSIDE)), **self._options)
        return output

    def _parts(self, phase: str, hooks: Path | None) -> list[str]:
        return [f"{hooks}/dib-run-parts", f"{hooks}/{phase}"]

    def _outside(self) -> dict[str, str]:
        stand_in = self._directory / "bin"
        stand_in.mkdir(exist_ok=True)
        (stand_in / "sudo").write_text(_NO_SUDO)
        (stand_in / "sudo").chmod(0o755)
        settings = {
            "PATH": f"{stand_in}:{_PATH}",
            "HOME": str(self._directory),
            "TMP_MOUNT_PATH": str(self.tree.root),
            "TMP_HOOKS_PATH": str(self.tree.hooks),
            "DIB_IMAGE_CACHE": str(self._directory / "cache"),
            "DIB_DEFAULT_INSTALLTYPE": "source",
            "DIB_OFFLINE": "",
        }
        return settings | self._options


def _merge_elements(hooks: Path) -> None:
    builder = diskimage_builder()
    ours = sorted(path for path in ELEMENTS.iterdir() if path.is_dir())
    for element in [*(builder / "elements" / name for name in _FOREIGN), *ours]:
        for directory in (path for path in element.iterdir() if path.is_dir()):
            shutil.copytree(directory, hooks / directory.name, dirs_exist_ok=True)
        for file in element.glob("source-repository-*"):
            shutil.copy2(file, hooks)
    shutil.copy2(builder / "lib/dib-run-parts", hooks)
    for phase in ("extra-data.d", *PHASES):
        (hooks / phase).mkdir(exist_ok=True)


def layers(lab: Path) -> list[Path]:
    """Return what an image is made on, the uppermost first."""
    return [packages_layer(lab), base_tree(lab, init_named("systemd"))]


def packages_layer(lab: Path) -> Path:
    """Return a layer over the base tree with the packages of all elements, made first if need be.

    The services of haproxy and keepalived are enabled in it, as their packages do on a real system.
    """
    base, packages = base_tree(lab, init_named("systemd")), packages_of_elements()
    below = (base / "var/lib/dpkg/status").read_text(encoding="utf-8")
    key = hashlib.sha256(" ".join([*packages, below]).encode()).hexdigest()[:12]
    with _made_once(lab / f"elements-packages-{key}") as unfinished:
        if unfinished is not None:
            tree = Tree(unfinished / "build", [base])
            quiet = {"DEBIAN_FRONTEND": "noninteractive"} | _proxies()
            tree.run("apt-get", "update", "-qq", **quiet)
            tree.run("apt-get", "install", "-y", "-qq", "--no-install-recommends", "git", *packages, **quiet)
            tree.run("apt-get", "clean")
            tree.run("systemctl", "enable", "haproxy", "keepalived")
            tree.upper.rename(unfinished / "layer")
    return lab / f"elements-packages-{key}" / "layer"


def _proxies() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}


def wheelhouse(lab: Path, python: str) -> Path:
    """Return a directory of wheels with all that the agent needs on ``python``, such as ``3.11``."""
    requirements = REPOSITORY / "requirements.txt"
    key = hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]
    path = lab / f"elements-wheels-{python}-{key}"
    with _made_once(path) as unfinished:
        if unfinished is not None:
            wanted = ["-r", str(requirements), "pbr>=6.1.1", "setuptools>=64"]
            options = ["--only-binary=:all:", "--python-version", python, "--dest", str(unfinished)]
            run([sys.executable, "-m", "pip", "download", "-q", *options, *wanted], os.environ)
    return path


def repository_of_working_tree(directory: Path) -> Path:
    """Return a git repository whose only commit is this working tree, with what is not committed yet."""
    listed = ["git", "-C", str(REPOSITORY), "ls-files", "-co", "--exclude-standard", "-z"]
    for name in filter(None, run(listed, os.environ).split("\0")):
        source = REPOSITORY / name
        if source.is_file() or source.is_symlink():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, directory / name, follow_symlinks=False)
    someone = ["-c", "user.name=tests", "-c", "user.email=tests@localhost"]
    for arguments in (
        ["init", "-q", "-b", "main"],
        ["add", "-A", "-f"],
        ["commit", "-q", "-m", "Working tree"],
    ):
        run(["git", "-C", str(directory), *someone, *arguments], os.environ)
    return directory


@contextlib.contextmanager
def _made_once(path: Path) -> Iterator[Path | None]:
    """Yield a directory to fill that becomes ``path``, or None if that is there already."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.is_dir():
            yield None
            return
        unfinished = path.with_name(f"{path.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        yield unfinished
        unfinished.rename(path)
