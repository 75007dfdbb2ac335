# SPDX-License-Identifier: Apache-2.0
"""The example distribution installed by pip, and a runsvdir that supervises for it."""

import os
import shutil
import site
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "amphora-agent-runit"


@pytest.fixture(scope="session")
def installed_python(tmp_path_factory):
    """Return the Python of a fresh environment: what is installed here, and the example on top of it."""
    directory = tmp_path_factory.mktemp("environment")
    venv.create(directory, with_pip=False)
    python = directory / "bin" / "python"
    own = subprocess.run(
        [python, "-c", "import site; print(site.getsitepackages()[0])"],
        capture_output=True,
        text=True,
        check=True,
    )
    base = "".join(f"import site; site.addsitedir({path!r})\n" for path in site.getsitepackages())
    Path(own.stdout.strip(), "base.pth").write_text(base)
    # Without any index: whatever it needs must be there already.
    options = ["--no-index", "--no-build-isolation", "--no-deps", "--quiet", "--disable-pip-version-check"]
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", *options, str(EXAMPLE)]
    done = subprocess.run(pip, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
    return python


@pytest.fixture(scope="session")
def service_directory():
    """A directory that a runsvdir of these tests watches; services in it outlive every agent."""
    directory = Path(tempfile.mkdtemp(prefix="amp-", dir="/tmp"))
    # A service that no runsv can take up makes runsvdir look every second rather than every five.
    (directory / "impatience").mkdir()
    (directory / "impatience" / "supervise").touch()
    with subprocess.Popen(
        ["runsvdir", "-P", str(directory)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PATH": f"{os.environ['PATH']}:/usr/bin:/sbin"},
    ) as runsvdir:
        yield directory
        runsvdir.terminate()
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def environment(service_directory):
    """Return the variables of a machine whose runsvdir is the one of these tests (sv(8))."""
    return os.environ | {"SVDIR": str(service_directory), "PYTHONDONTWRITEBYTECODE": "1"}
