# SPDX-License-Identifier: Apache-2.0
"""Real databases of rpm, with real packages, in a directory of their own."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from amphora.drivers.package_manager.rpm import RpmPackageManager
from amphora.errors import DriverUnavailable, OperationFailed
from amphora.system.command import CommandRunner
from amphora.testing.package_manager import PackageManagerContract

REPOSITORY = Path(__file__).parents[3]
ONE, TWO = "amphora-lab-one", "amphora-lab-two"
BOTH = [ONE, TWO]

_SPEC = """\
Name: {name}
Version: {version}
Release: 1
Epoch: 3
Summary: For tests
License: Apache-2.0
BuildArch: noarch
%description
Nothing.
%files
"""


def run(*argv, home):
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "LC_ALL": "C.UTF-8"}
    return subprocess.run(argv, check=True, timeout=60, env=environment, capture_output=True)


class Packages:
    """Three packages and the databases they go into."""

    def __init__(self, directory):
        self._directory = directory
        for name, version in ((ONE, "1.0"), (ONE, "2.0"), (TWO, "5.5")):
            spec = directory / f"{name}-{version}.spec"
            spec.write_text(_SPEC.format(name=name, version=version))
            places = [f"--define=_topdir {directory}", f"--define=_rpmdir {directory}"]
            run("rpmbuild", "-bb", *places, str(spec), home=directory)

    def change(self, database, *verb):
        run("rpm", "--dbpath", str(database), *verb, home=self._directory)

    def install(self, database, name, version, *options):
        package = self._directory / "noarch" / f"{name}-{version}-1.noarch.rpm"
        self.change(database, "-U", "--justdb", "--nodeps", *options, str(package))


class CountingRunner(CommandRunner):
    def __init__(self):
        self.runs = 0

    def run(self, argv, **options):
        self.runs += 1
        return super().run(argv, **options)


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    return Packages(tmp_path_factory.mktemp("rpm"))


@pytest.fixture
def database(packages, tmp_path):
    directory = tmp_path / "db"
    directory.mkdir()
    for name, version in ((ONE, "1.0"), (TWO, "5.5")):
        packages.install(directory, name, version)
    return directory


@pytest.fixture
def runner():
    return CountingRunner()


@pytest.fixture
def package_manager(database, runner):
    return RpmPackageManager(runner, [database])


@pytest.fixture
def installed_package():
    return ONE


class TestRpm(PackageManagerContract):
    pass


def test_versions_are_told_with_release_and_without_epoch(package_manager):
    assert package_manager.installed_versions(BOTH) == {ONE: "1.0-1", TWO: "5.5-1"}


def test_an_upgrade_is_seen_and_costs_one_run(package_manager, packages, database, runner):
    package_manager.installed_versions(BOTH)
    packages.install(database, ONE, "2.0")
    for _ in range(5):
        assert package_manager.installed_versions(BOTH) == {ONE: "2.0-1", TWO: "5.5-1"}
    assert runner.runs == 2


def test_a_removal_is_seen(package_manager, packages, database):
    assert set(package_manager.installed_versions(BOTH)) == set(BOTH)
    packages.change(database, "-e", "--justdb", ONE)
    assert package_manager.installed_versions(BOTH) == {TWO: "5.5-1"}


def test_many_changes_in_a_row_are_each_seen(package_manager, packages, database):
    for version in ("2.0", "1.0") * 5:
        packages.install(database, ONE, version, "--oldpackage")
        assert package_manager.installed_versions([ONE]) == {ONE: f"{version}-1"}


def test_callers_at_once_start_one_process(package_manager, runner):
    together = threading.Barrier(16, timeout=30)

    def ask(_caller):
        together.wait()
        return package_manager.installed_versions([TWO])

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(ask, range(16))) == [{TWO: "5.5-1"}] * 16
    assert runner.runs == 1


def test_requests_start_no_process_of_any_kind(database, tmp_path):
    forks = tmp_path / "forks"
    forks.touch()
    script = str(Path(__file__).with_name("rpm_forks.py"))
    environment = {"PYTHONPATH": str(REPOSITORY), "PATH": os.environ["PATH"]}
    argv = [sys.executable, script, str(database), str(forks)]
    subprocess.run(argv, check=True, timeout=60, env=environment)
    assert forks.stat().st_size == 1


def test_rpm_as_a_mere_tool_is_not_selected(packages, tmp_path):
    packages.change(tmp_path, "--initdb")
    with pytest.raises(DriverUnavailable, match="lists no package"):
        RpmPackageManager(CommandRunner(), [tmp_path]).check_available()


def test_asking_where_there_is_no_database_makes_none(tmp_path):
    manager = RpmPackageManager(CommandRunner(), [tmp_path, tmp_path / "absent"])
    with pytest.raises(DriverUnavailable, match="no rpm database"):
        manager.check_available()
    with pytest.raises(OperationFailed, match="no rpm database"):
        manager.installed_versions([ONE])
    assert list(tmp_path.iterdir()) == []


def test_a_broken_database_is_told_with_rpms_own_words(tmp_path):
    (tmp_path / "rpmdb.sqlite").write_bytes(b"no database at all" * 400)
    with pytest.raises(OperationFailed, match="file is not a database"):
        RpmPackageManager(CommandRunner(), [tmp_path]).installed_versions([ONE])
