# SPDX-License-Identifier: Apache-2.0
"""Two distributions of one repository: what each wheel holds, and how they work side by side."""

import os
import site
import subprocess
import sys
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.image_elements import repository_of_working_tree, run
from tests.support.nspawn import REPOSITORY

# Without any index: what builds and runs them is installed here.
OFFLINE = ("--no-index", "--no-deps", "--quiet", "--disable-pip-version-check")


@dataclass(frozen=True)
class Wheel:
    path: Path

    @property
    def names(self):
        with zipfile.ZipFile(self.path) as archive:
            return archive.namelist()

    def metadata(self, file_name):
        with zipfile.ZipFile(self.path) as archive:
            (name,) = (name for name in self.names if name.endswith(f".dist-info/{file_name}"))
            return archive.read(name).decode()


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    directory = tmp_path_factory.mktemp("wheels")
    source = repository_of_working_tree(directory / "source")
    build = [sys.executable, "-m", "pip", "wheel", *OFFLINE, "--no-build-isolation", "-w", str(directory)]
    run([*build, str(source), str(source / "testing")], os.environ)
    (agent,) = directory.glob("amphora_agent-*.whl")
    (testing,) = directory.glob("amphora_agent_testing-*.whl")
    return Wheel(agent), Wheel(testing)


@pytest.fixture
def python(tmp_path):
    """The Python of an environment without the agent, though with all that it needs."""
    venv.create(tmp_path / "environment", with_pip=False)
    python = tmp_path / "environment" / "bin" / "python"
    own = run([python, "-c", "import site; print(site.getsitepackages()[0])"], os.environ)
    Path(own.strip(), "base.pth").write_text("".join(f"{path}\n" for path in site.getsitepackages()))
    return python


def install(python, wheel):
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", *OFFLINE]
    run([*pip, "--ignore-installed", str(wheel.path)], os.environ)


def is_installed(python, module):
    script = f"import importlib; print(importlib.import_module({module!r}).__file__)"
    # -P: not what is in the current directory, which is this repository.
    return run([python, "-P", "-c", script], os.environ).startswith(str(python.parents[1]))


def python_files(directory):
    return {path.relative_to(REPOSITORY).as_posix() for path in (REPOSITORY / directory).rglob("*.py")}


def test_each_module_is_in_one_wheel(wheels):
    agent, testing = ({name for name in wheel.names if name.endswith(".py")} for wheel in wheels)
    assert testing == python_files("amphora/testing")
    assert agent == python_files("amphora") - testing


def test_the_agent_brings_nothing_that_is_for_tests(wheels):
    agent, _ = wheels
    assert [name for name in agent.names if "testing" in name] == []
    assert "conformance" not in agent.metadata("entry_points.txt")
    assert "pytest" not in agent.metadata("METADATA")


def test_the_suites_belong_to_one_version_of_the_agent(wheels):
    agent, testing = wheels
    version = agent.path.name.split("-")[1]
    required = [
        line for line in testing.metadata("METADATA").splitlines() if line.startswith("Requires-Dist")
    ]
    assert required == [f"Requires-Dist: amphora-agent=={version}", "Requires-Dist: pytest>=8.0"]
    assert f"\nVersion: {version}\n" in testing.metadata("METADATA")


def test_they_work_side_by_side_and_the_agent_alone(wheels, python):
    agent, testing = wheels
    install(python, agent)
    assert is_installed(python, "amphora.cmd.agent")
    absent = subprocess.run(
        [python, "-P", "-c", "import amphora.testing"], cwd="/", capture_output=True, text=True, timeout=60
    )
    assert absent.stderr.endswith("ModuleNotFoundError: No module named 'amphora.testing'\n")

    install(python, testing)
    assert is_installed(python, "amphora.testing.suites")
    command = [python.with_name("amphora-agent-conformance"), "package_manager", "dpkg"]
    assert run(command, os.environ).splitlines()[-1].startswith("8 passed, 0 failed in ")
