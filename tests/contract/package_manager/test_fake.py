# SPDX-License-Identifier: Apache-2.0
"""The fake keeps the whole contract, and fails when told to."""

import pytest

from amphora.errors import OperationFailed
from amphora.testing.fake_package_manager import FakePackageManager
from amphora.testing.suites import PackageManagerSuite


class TestFakePackageManager(PackageManagerSuite):
    def build(self, directory):
        return FakePackageManager({"bash": "5.2.15-2"})


def test_fails_once_when_told_to():
    manager = FakePackageManager({"haproxy": "2.6.12"})
    manager.fail_next(OperationFailed("locked"))
    with pytest.raises(OperationFailed, match="locked"):
        manager.installed_versions(["haproxy"])
    assert manager.installed_versions(["haproxy"]) == {"haproxy": "2.6.12"}
    assert manager.calls == [["haproxy"], ["haproxy"]]
