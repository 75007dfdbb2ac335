# SPDX-License-Identifier: Apache-2.0
import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
MODULES = {
    "process_manager": "process_managers",
    "cert_store": "cert_stores",
    "package_manager": "package_managers",
    "network": "networks",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A directory in which a distribution with all broken drivers is installed."""
    directory = tmp_path_factory.mktemp("site")
    info = directory / "broken_drivers-1.3.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-drivers\nVersion: 1.3\n")
    lines = []
    for family, module in MODULES.items():
        lines.append(f"[amphora.{family}]")
        path = f"tests.contract.broken.{module}"
        samples = vars(importlib.import_module(path))
        lines += [f"{name} = {path}:{name}" for name, value in samples.items() if isinstance(value, type)]
    (info / "entry_points.txt").write_text("\n".join(lines))
    return directory


@pytest.fixture(scope="module")
def site_environment(site, tmp_path_factory):
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{site}:{REPOSITORY}",
        # Keeps the loader's cache out of the home directory.
        "XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache")),
    }


@pytest.fixture(scope="module")
def conformance(site_environment):
    """Run the command as an author would."""

    def run(*arguments, status, **more):
        argv = [sys.executable, "-m", "amphora.testing.conformance", *arguments]
        environment = site_environment | more
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == status, done.stdout + done.stderr
        return done

    yield run
    for left in Path("/var/tmp").glob("broken-amp-*"):
        shutil.rmtree(left)
