# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: D102 - the names of the tests say what they promise
"""The contract of package managers as tests, for authors of drivers.

Inherit :class:`amphora.testing.suites.PackageManagerSuite` and say how to build the driver. The class
here asks for fixtures instead: ``package_manager``, and ``installed_package`` with the name of a package
that is installed where the tests run.
"""

from __future__ import annotations

import contextlib

from amphora.drivers.package_manager.base import PackageManager
from amphora.errors import AmphoraError
from amphora.testing.conditions import descriptors_left, no_processes, open_descriptors

#: One of these is installed on any machine that has packages at all.
WELL_KNOWN = ("dpkg", "rpm", "bash", "coreutils", "busybox", "libc6", "glibc", "musl", "pacman", "apk-tools")


class PackageManagerContract:
    """What every package manager must do. Names of the tests say what is promised."""

    def test_it_is_available_where_its_tests_run(self, package_manager: PackageManager) -> None:
        package_manager.check_available()
        package_manager.check_available()

    def test_an_installed_package_has_a_version(
        self, package_manager: PackageManager, installed_package: str
    ) -> None:
        versions = package_manager.installed_versions([installed_package])
        assert list(versions) == [installed_package]
        assert versions[installed_package].strip()

    def test_a_version_is_one_word(self, package_manager: PackageManager, installed_package: str) -> None:
        version = package_manager.installed_versions([installed_package])[installed_package]
        assert version.split() == [version], f"{version!r} is no version as a package has it"

    def test_others_are_left_out(self, package_manager: PackageManager, installed_package: str) -> None:
        asked = ["no-such-package", "", "../x", installed_package]
        versions = package_manager.installed_versions(asked)
        assert list(versions) == [installed_package], f"asked for {asked}, the answer was {dict(versions)}"

    def test_no_names_give_no_versions(self, package_manager: PackageManager) -> None:
        assert dict(package_manager.installed_versions([])) == {}

    def test_the_answer_stays_the_same(self, package_manager: PackageManager, installed_package: str) -> None:
        first = package_manager.installed_versions([installed_package])
        assert package_manager.installed_versions([installed_package]) == first

    def test_no_process_is_started_for_each_request(
        self, package_manager: PackageManager, installed_package: str
    ) -> None:
        first = package_manager.installed_versions([installed_package])
        again = None
        with no_processes() as attempts, contextlib.suppress(AmphoraError):
            again = package_manager.installed_versions([installed_package, "no-such-package"])
        assert not attempts, f"a request that could be answered from a cache started a process, {attempts[0]}"
        assert again == first

    def test_no_descriptor_stays_open(self, package_manager: PackageManager, installed_package: str) -> None:
        package_manager.installed_versions([installed_package])
        before = open_descriptors()
        for _ in range(5):
            package_manager.installed_versions([installed_package])
        assert not descriptors_left(before), descriptors_left(before)
