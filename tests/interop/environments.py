# SPDX-License-Identifier: Apache-2.0
"""Interpreters that have a release of Octavia installed, apart from everything that is ours.

An environment is made from one requirements file by plain pip, once for each content of that file, and
kept in ``$LAB`` (``/tmp/lab`` unless LAB is set). Run as a script it makes those that are missing.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent

#: Name of an environment to the file that says what is in it.
REQUIREMENTS = {
    "newest": HERE / "requirements-newest.txt",
    "legacy": HERE / "requirements-0.5.txt",
}

_BUILD_SECONDS = 600


def interpreter(name: str) -> Path:
    """Return the interpreter of an environment, which is made first if it is missing.

    :raises RuntimeError: it could not be made; holds pip's words.
    """
    requirements = REQUIREMENTS[name]
    lab = Path(os.environ.get("LAB", "/tmp/lab"))
    lab.mkdir(parents=True, exist_ok=True)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()[:16]
    directory = lab / f"interop-{name}-py{version}-{digest}"
    with (lab / f"interop-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (directory / "complete").exists():
            _make(directory, requirements)
    return directory / "bin" / "python"


def _make(directory: Path, requirements: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    # The tests' own environment may be a virtual one, whose packages must not come along.
    _run(str(Path(sys.base_prefix, "bin", f"python{sys.version_info.major}")), "-m", "venv", str(directory))
    python = str(directory / "bin" / "python")
    _run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(requirements))
    (directory / "complete").touch()


def _run(*argv: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_BUILD_SECONDS,
        env=environment,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)} ended with {done.returncode}:\n{done.stdout}")


def main() -> None:
    """Make all environments, both at once, and say where they are."""
    began = time.monotonic()
    with ThreadPoolExecutor() as pool:
        for name, python in zip(REQUIREMENTS, pool.map(interpreter, REQUIREMENTS), strict=True):
            print(f"{name}: {python} ({time.monotonic() - began:.0f} s)")


if __name__ == "__main__":
    main()
