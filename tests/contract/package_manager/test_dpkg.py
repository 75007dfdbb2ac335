# SPDX-License-Identifier: Apache-2.0
from amphora.drivers.package_manager.dpkg import DpkgPackageManager
from amphora.testing.suites import PackageManagerSuite


class TestDpkg(PackageManagerSuite):
    def build(self, directory):
        return DpkgPackageManager()
