# SPDX-License-Identifier: Apache-2.0
"""A package manager without packages, for tests of what stands on one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Self

from amphora.drivers.base import DriverContext
from amphora.drivers.package_manager.base import PackageManager
from amphora.errors import AmphoraError

_NONE: Mapping[str, str] = MappingProxyType({})


class FakePackageManager(PackageManager):
    """Knows the packages it is given.

    :ivar installed: version by name; change it to play an installation.
    :ivar calls: the names asked for, call by call.
    """

    def __init__(self, installed: Mapping[str, str] = _NONE) -> None:
        self.installed = dict(installed)
        self.calls: list[list[str]] = []
        self._failures: list[AmphoraError] = []

    @classmethod
    def create(cls, context: DriverContext) -> Self:
        """Build a driver that knows no package."""
        return cls()

    def fail_next(self, error: AmphoraError) -> None:
        """Make the next question raise; may be given several times, for the questions after."""
        self._failures.append(error)

    def check_available(self) -> None:
        """Return at once."""

    def installed_versions(self, names: Collection[str]) -> Mapping[str, str]:
        """See the contract."""
        self.calls.append(list(names))
        if self._failures:
            raise self._failures.pop(0)
        return {name: self.installed[name] for name in names if name in self.installed}
