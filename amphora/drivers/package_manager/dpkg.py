# SPDX-License-Identifier: Apache-2.0
"""Installed packages of Debian and Ubuntu, read from dpkg's own database."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Self

from amphora.drivers.base import DriverContext
from amphora.drivers.package_manager.base import PackageManager
from amphora.errors import DriverUnavailable, OperationFailed

_STATUS_FILE = Path("/var/lib/dpkg/status")


class DpkgPackageManager(PackageManager):
    """Reads ``/var/lib/dpkg/status`` (dpkg(1)); dpkg replaces that file whole after each run.

    The parsed versions are kept until the file is replaced, so a call costs one ``stat``.
    """

    condition = "dpkg's database lists packages"

    def __init__(self, status_file: Path = _STATUS_FILE) -> None:
        self._status_file = status_file
        self._cache: tuple[tuple[int, int, int], Mapping[str, str]] | None = None

    @classmethod
    def create(cls, _context: DriverContext) -> Self:
        """Build the driver on dpkg's own status file."""
        return cls()

    def check_available(self) -> None:
        """Return if this machine's packages are dpkg's.

        Fedora and others offer ``dpkg`` as a tool; there it knows of no package.

        :raises DriverUnavailable: there is no database, or none that can be read and lists a package.
        """
        if not self._status_file.is_file():
            raise DriverUnavailable(f"{self._status_file} is missing: this is no dpkg-based distribution")
        try:
            versions = self._versions()
        except OperationFailed as error:
            raise DriverUnavailable(error.details) from error
        if not versions:
            raise DriverUnavailable(
                f"{self._status_file} lists no installed package: "
                "dpkg is installed but does not manage this system"
            )

    def installed_versions(self, names: Collection[str]) -> Mapping[str, str]:
        """Return the version of each named package that is installed; others are left out.

        :raises OperationFailed: the database cannot be read.
        """
        versions = self._versions()
        return {name: versions[name] for name in names if name in versions}

    def _versions(self) -> Mapping[str, str]:
        try:
            stat = self._status_file.stat()
            identity = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            cached = self._cache
            if cached is not None and cached[0] == identity:
                return cached[1]
            text = self._status_file.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise OperationFailed(f"{self._status_file} could not be read: {error.strerror}") from error
        versions = dict(parse_status(text))
        self._cache = (identity, versions)
        return versions


def parse_status(text: str) -> Iterator[tuple[str, str]]:
    """Yield name and version of each installed package of a dpkg status file (deb-control(5)).

    A package known for several architectures is yielded once for each.
    """
    for paragraph in text.split("\n\n"):
        fields = dict(
            line.split(": ", 1)
            for line in paragraph.splitlines()
            if ": " in line and not line.startswith((" ", "\t"))
        )
        if fields.get("Status", "").endswith(" installed") and {"Package", "Version"} <= fields.keys():
            yield fields["Package"], fields["Version"]
