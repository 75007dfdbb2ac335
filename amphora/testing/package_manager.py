# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: D102
"""The contract of package managers, as tests to inherit.

Give a fixture ``package_manager``, and ``installed_package`` with the name of a package that is
installed where the tests run.
"""

from __future__ import annotations

from amphora.drivers.package_manager.base import PackageManager


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

    def test_others_are_left_out(self, package_manager: PackageManager, installed_package: str) -> None:
        versions = package_manager.installed_versions(["no-such-package", installed_package])
        assert list(versions) == [installed_package]

    def test_no_names_give_no_versions(self, package_manager: PackageManager) -> None:
        assert dict(package_manager.installed_versions([])) == {}

    def test_the_answer_stays_the_same(self, package_manager: PackageManager, installed_package: str) -> None:
        first = package_manager.installed_versions([installed_package])
        assert package_manager.installed_versions([installed_package]) == first
