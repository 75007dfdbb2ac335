# SPDX-License-Identifier: Apache-2.0
"""The files of our upstart jobs: what is installed, what should run, and which process runs.

No fork, no question to upstart. A job of ours without an override file should run.
"""

from __future__ import annotations

from pathlib import Path

from amphora.drivers.process_manager.specs import is_service_name
from amphora.drivers.process_manager.upstart.jobs import HEADER, MANUAL, JobPaths, read_spec, render_job
from amphora.errors import ServiceError, StorageError
from amphora.models import ServiceSpec
from amphora.system import files
from amphora.system.processes import PROC, ProcessIdentity

_SUFFIX = ".conf"


class JobStore:
    """Job files in one directory, records of their processes in another.

    Files that do not begin with our first line are never changed: writing in their place is refused.
    """

    def __init__(self, job_directory: Path, state_directory: Path) -> None:
        self._jobs = job_directory
        self._state = state_directory

    def prepare(self) -> None:
        """Make the directory of state and remove what interrupted writes left in both.

        :raises ServiceError: that is not possible.
        """
        try:
            files.ensure_directory(self._state, 0o700)
            files.sweep_temporaries(self._state)
            files.sweep_temporaries(self._jobs)
            self._sweep_overrides()
        except StorageError as error:
            raise ServiceError(error.details) from error

    def _sweep_overrides(self) -> None:
        """Remove overrides of ours that an interrupted removal has left without their job."""
        for name in files.file_names(self._jobs):
            path = self._jobs / name
            is_alone = path.suffix == ".override" and not path.with_suffix(_SUFFIX).exists()
            if is_alone and _is_ours(files.read_if_present(path)):
                files.remove(path)

    def paths(self, name: str) -> JobPaths:
        """Return where the files of a service are."""
        return JobPaths.of(name, self._jobs, self._state)

    def names(self) -> list[str]:
        """Return the names of all our jobs, damaged ones included, sorted.

        :raises ServiceError: the directory cannot be read.
        """
        try:
            found = [
                name.removesuffix(_SUFFIX) for name in files.file_names(self._jobs) if name.endswith(_SUFFIX)
            ]
        except StorageError as error:
            raise ServiceError(error.details) from error
        return [
            name for name in found if is_service_name(name) and _is_ours(self._read(self.paths(name).conf))
        ]

    def spec(self, name: str) -> ServiceSpec | None:
        """Return the spec of a job of ours, or None if there is no such job.

        :raises ServiceError: it is ours but damaged, or cannot be read.
        """
        job = self._read(self.paths(name).conf) if is_service_name(name) else None
        return None if job is None else read_spec(job.decode("utf-8", "replace"))

    def job(self, name: str) -> bytes | None:
        """Return the content of a service's job file, whoever wrote it; None when there is none.

        :raises ServiceError: it cannot be read.
        """
        return self._read(self.paths(name).conf)

    def put_back(self, name: str, former: bytes | None) -> None:
        """Undo an installation, given what the job file held before it.

        :raises ServiceError: that could not be done.
        """
        if former is None:
            self.remove(name)
        else:
            self._write(self.paths(name).conf, former.decode("utf-8", "surrogateescape"))

    def install(self, spec: ServiceSpec) -> bool:
        """Write the job of a checked spec where it differs; a new one is not to run. Return if it changed.

        :raises ServiceError: a file of somebody else is in the way, or nothing could be written.
        """
        paths = self.paths(spec.name)
        former, override = self._read(paths.conf), self._read(paths.override)
        for path, content in ((paths.conf, former), (paths.override, override)):
            if content is not None and not _is_ours(content):
                raise ServiceError(f"{path} exists and was not written by amphora-agent")
        self._ensure_state()
        if former is None:
            # First, so that a machine that goes down in between does not start it at boot.
            self._write(paths.override, MANUAL)
        job = render_job(spec, paths)
        if former == job.encode():
            return False
        self._write(paths.conf, job)
        return True

    def is_wanted(self, name: str) -> bool:
        """Whether a job of ours should run now and after a boot."""
        return not self.paths(name).override.exists()

    def set_wanted(self, name: str, wanted: bool) -> None:
        """Make a job of ours start at boot, or not.

        :raises ServiceError: nothing was changed.
        """
        if wanted == self.is_wanted(name):
            return
        path = self.paths(name).override
        if wanted:
            self._remove(path)
        else:
            self._write(path, MANUAL)

    def recorded(self, name: str) -> ProcessIdentity | None:
        """Return the main process the job has recorded since this boot, alive or not, or None."""
        record = (self._read(self.paths(name).record) or b"").decode("ascii", "replace").split()
        if len(record) != 3 or record[2] != _boot_id() or not (record[0] + record[1]).isdigit():
            return None
        return ProcessIdentity(int(record[0]), int(record[1]))

    def forget_process(self, name: str) -> None:
        """Remove the record of a job's process; safe to repeat.

        :raises ServiceError: it is still there.
        """
        self._remove(self.paths(name).record)

    def remove(self, name: str) -> None:
        """Remove all files of a job that does not run.

        The job file goes first: left alone, the override would do nothing.

        :raises ServiceError: something is still there.
        """
        paths = self.paths(name)
        for path in (paths.conf, paths.override, paths.record, paths.notify):
            self._remove(path)

    def _ensure_state(self) -> None:
        try:
            files.ensure_directory(self._state, 0o700)
        except StorageError as error:
            raise ServiceError(error.details) from error

    def _read(self, path: Path) -> bytes | None:
        try:
            return files.read_if_present(path)
        except StorageError as error:
            raise ServiceError(error.details) from error

    def _write(self, path: Path, text: str) -> None:
        try:
            files.write_atomically(path, text.encode("utf-8", "surrogateescape"), 0o644)
        except StorageError as error:
            raise ServiceError(error.details) from error

    def _remove(self, path: Path) -> None:
        try:
            files.remove(path)
        except StorageError as error:
            raise ServiceError(error.details) from error


def _is_ours(content: bytes | None) -> bool:
    return content is not None and content.startswith(HEADER.encode())


def _boot_id() -> str:
    return (PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
