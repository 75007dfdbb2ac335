# SPDX-License-Identifier: Apache-2.0
"""The contract of package managers."""

from __future__ import annotations

import abc
from collections.abc import Collection, Mapping

from amphora.drivers.base import Driver


class PackageManager(Driver):
    """Answers which packages are installed. It never changes any."""

    @abc.abstractmethod
    def installed_versions(self, names: Collection[str]) -> Mapping[str, str]:
        """Return the version of each named package that is installed; others are left out.

        Answered from a cache that follows the package database: no fork per call, milliseconds.

        :raises OperationFailed: the package database cannot be read.
        """
