# SPDX-License-Identifier: Apache-2.0
import pytest

from amphora.drivers.package_manager.dpkg import DpkgPackageManager
from amphora.testing.package_manager import PackageManagerContract


@pytest.fixture
def package_manager():
    return DpkgPackageManager()


@pytest.fixture
def installed_package():
    return "dpkg"


class TestDpkg(PackageManagerContract):
    pass
