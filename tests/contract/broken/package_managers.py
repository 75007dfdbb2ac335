# SPDX-License-Identifier: Apache-2.0
"""Package managers that are each broken in one way."""

from amphora.testing.fake_package_manager import FakePackageManager


class Sample(FakePackageManager):
    @classmethod
    def create(cls, context):
        driver = cls({"bash": "5.2.15-2"})
        driver.runner = context.runner
        return driver


class ForksPerRequest(Sample):
    def installed_versions(self, names):
        self.runner.run(("/bin/true",), timeout=10)
        return super().installed_versions(names)


class InventsPackages(Sample):
    def installed_versions(self, names):
        return dict.fromkeys(names, "") | super().installed_versions(names)


class WrongError(Sample):
    def check_available(self):
        raise KeyError("status")
