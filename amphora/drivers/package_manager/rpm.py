# SPDX-License-Identifier: Apache-2.0
"""Installed packages of distributions built on rpm."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from amphora.drivers.base import DriverContext
from amphora.drivers.package_manager.base import PackageManager
from amphora.errors import DriverUnavailable, OperationFailed
from amphora.system.command import OUTPUT_LIMIT, SEARCH_PATH, CommandRunner

#: Where distributions keep the database: newer Fedora and SUSE, then the rest.
_DIRECTORIES = (Path("/usr/lib/sysimage/rpm"), Path("/var/lib/rpm"))
#: What changes in them with the packages, for each storage format: sqlite, ndb and Berkeley DB.
_FILES = ("rpmdb.sqlite", "rpmdb.sqlite-wal", "Packages.db", "Packages")
#: Marks the lines that are an answer: warnings come on the same stream.
_MARK = "installed\t"
_FORMAT = _MARK + r"%{INSTALLTIME}\t%{NAME}\t%{VERSION}-%{RELEASE}\n"
#: Seconds. A whole distribution is listed in a fraction of one.
_TIME_LIMIT = 5.0
#: Seconds before a database that could not be read is tried again: each try may cost the time limit.
_RETRY_AFTER = 5.0
#: Seconds; longer than the steps in which a kernel dates files.
_CLOCK_STEP = 0.02

#: Name, modification time in nanoseconds and size of each file of the database.
_Identity = Sequence[tuple[str, int, int]]


@dataclass(frozen=True, slots=True)
class _Reading:
    identity: _Identity
    versions: Mapping[str, str] = field(default_factory=dict)
    failure: str = ""
    failed_at: float = 0.0

    def answers(self, identity: _Identity) -> bool:
        retry = bool(self.failure) and time.monotonic() - self.failed_at > _RETRY_AFTER
        return self.identity == identity and not retry


class RpmPackageManager(PackageManager):
    """Lists all packages by one run of rpm(8), again only after the database's files have changed.

    Between changes a call costs a few ``stat``. Callers that come while rpm runs wait for that run. A
    failure is remembered too, for seconds, so that a broken database does not cost each of them a
    process and its time limit.

    :param directories: where the database may be; the first that holds one is used.
    """

    condition = "rpm's database lists packages"

    def __init__(self, runner: CommandRunner, directories: Sequence[Path] = _DIRECTORIES) -> None:
        self._runner = runner
        self._directories = directories
        self._one_at_a_time = threading.Lock()
        self._reading: _Reading | None = None

    @classmethod
    def create(cls, context: DriverContext) -> Self:
        """Build the driver on the distribution's own database."""
        return cls(context.runner)

    def check_available(self) -> None:
        """Return if this machine's packages are rpm's.

        Debian offers ``rpm`` as a tool; there it knows of no package, and dpkg is the one to ask.

        :raises DriverUnavailable: no rpm command, no database, or none that can be read and lists a
            package.
        """
        if shutil.which("rpm", path=SEARCH_PATH) is None:
            raise DriverUnavailable("the command rpm is missing: this is no rpm-based distribution")
        try:
            directory = self._directory()
            versions = self._versions(directory)
        except OperationFailed as error:
            raise DriverUnavailable(error.details) from error
        if not versions:
            raise DriverUnavailable(
                f"{directory} lists no package: rpm is installed but does not manage this system"
            )

    def installed_versions(self, names: Collection[str]) -> Mapping[str, str]:
        """Return version and release of each named package that is installed; others are left out.

        Without the epoch: who compares versions of haproxy reads the first two numbers. Of a package
        that is installed more than once the latest installation counts.

        :raises OperationFailed: the database cannot be read.
        """
        versions = self._versions(self._directory())
        return {name: versions[name] for name in names if name in versions}

    def _directory(self) -> Path:
        for directory in self._directories:
            if any((directory / name).is_file() for name in _FILES):
                return directory
        places = " or ".join(str(directory) for directory in self._directories)
        raise OperationFailed(f"there is no rpm database in {places}")

    def _versions(self, directory: Path) -> Mapping[str, str]:
        reading = self._reading
        if reading is None or not reading.answers(_identity(directory)):
            reading = self._read_once(directory)
        if reading.failure:
            raise OperationFailed(reading.failure)
        return reading.versions

    def _read_once(self, directory: Path) -> _Reading:
        with self._one_at_a_time:
            identity = _settled_identity(directory)
            reading = self._reading
            if reading is None or not reading.answers(identity):
                self._reading = reading = self._read(directory, identity)
            return reading

    def _read(self, directory: Path, identity: _Identity) -> _Reading:
        try:
            return _Reading(identity, self._query(directory))
        except OperationFailed as error:
            return _Reading(identity, failure=error.details, failed_at=time.monotonic())

    def _query(self, directory: Path) -> Mapping[str, str]:
        # Named, because a query of a place without a database would make one there.
        argv = ("rpm", "--dbpath", str(directory), "-qa", "--queryformat", _FORMAT)
        result = self._runner.run(argv, timeout=_TIME_LIMIT)
        if not result.succeeded:
            reason = result.output.strip() or f"exit status {result.status}"
            raise OperationFailed(f"rpm could not list the packages in {directory}: {reason}")
        if len(result.output.encode()) >= OUTPUT_LIMIT:
            raise OperationFailed(f"rpm lists more packages in {directory} than {OUTPUT_LIMIT} bytes hold")
        return dict(parse_query(result.output))


def parse_query(output: str) -> Iterator[tuple[str, str]]:
    """Yield name and version of each package that a query listed, those installed last at the end.

    Other lines, such as warnings, are skipped.
    """
    rows = [line.split("\t")[1:] for line in output.splitlines() if line.startswith(_MARK)]
    whole = [(int(row[0]), row[1], row[2]) for row in rows if len(row) == 3 and row[0].isdecimal()]
    for _time, name, version in sorted(whole, key=lambda row: row[0]):
        yield name, version


def _identity(directory: Path) -> _Identity:
    found = []
    for name in _FILES:
        try:
            stat = (directory / name).stat()
        except OSError:
            continue
        # Readers leave an empty write-ahead log behind, or remove it, and change nothing by that.
        if stat.st_size:
            found.append((name, stat.st_mtime_ns, stat.st_size))
    return found


def _settled_identity(directory: Path) -> _Identity:
    """Return the identity once a later change is sure to alter it: two in one clock step look alike."""
    identity = _identity(directory)
    newest = max((mtime for _name, mtime, _size in identity), default=0)
    if abs(time.time_ns() - newest) < _CLOCK_STEP * 1e9:
        time.sleep(_CLOCK_STEP)
        identity = _identity(directory)
    return identity
