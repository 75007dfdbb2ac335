# SPDX-License-Identifier: Apache-2.0
"""The files of our upstart jobs: what is installed, what should run, and which process runs.

Nothing here forks or asks upstart. A job of the agent without an override file should run.
"""

from __future__ import annotations

from pathlib import Path

from amphora.drivers.process_manager.records import current_boot_id, noted_process
from amphora.drivers.process_manager.service_errors import as_service_error
from amphora.drivers.process_manager.spec_files import SpecFiles
from amphora.drivers.process_manager.upstart.jobs import JOB, MANUAL, JobPaths, render_job
from amphora.models import ServiceSpec
from amphora.system import files
from amphora.system.processes import ProcessIdentity

_SUFFIX = ".conf"


class JobStore(SpecFiles):
    """Job files in one directory, records of their processes in another."""

    def __init__(self, job_directory: Path, state_directory: Path) -> None:
        super().__init__(job_directory, _SUFFIX, JOB)
        self._state = state_directory

    @as_service_error()
    def prepare(self) -> None:
        """Make the directory of state and remove what interrupted writes left in both.

        :raises ServiceError: that is not possible.
        """
        files.ensure_directory(self._state, 0o700)
        files.sweep_temporaries(self._state)
        self.sweep()
        for path in map(self.directory.joinpath, files.file_names(self.directory)):
            # An override of the agent that an interrupted removal has left without its job.
            is_left = path.suffix == ".override" and not path.with_suffix(_SUFFIX).exists()
            if is_left and JOB.is_ours(files.read_if_present(path)):
                files.remove(path)

    def paths(self, name: str) -> JobPaths:
        """Return where the files of a service are."""
        return JobPaths.of(name, self.directory, self._state)

    def put_back(self, name: str, former: bytes | None) -> None:
        """Undo an installation, given the former content of the job file.

        :raises ServiceError: that could not be done.
        """
        if former is None:
            self.remove(name)
        else:
            self.write(name, former)

    @as_service_error()
    def install(self, spec: ServiceSpec) -> bool:
        """Write the job of a checked spec if it differs; a new one is stopped. Return whether it changed.

        :raises ServiceError: a file of another program is in the way, or nothing could be written.
        """
        paths = self.paths(spec.name)
        former = self.read_own(spec.name)
        # Refuses one of another program.
        JOB.read_own(paths.override)
        files.ensure_directory(self._state, 0o700)
        if former is None:
            # First, so that a machine that goes down in between does not start it at boot.
            self.set_wanted(spec.name, False)
        job = render_job(spec, paths).encode()
        if former == job:
            return False
        self.write(spec.name, job)
        return True

    def is_wanted(self, name: str) -> bool:
        """Whether a job should run now and after a boot."""
        return not self.paths(name).override.exists()

    @as_service_error()
    def set_wanted(self, name: str, wanted: bool) -> None:
        """Make a job start at boot, or not.

        :raises ServiceError: nothing was changed.
        """
        path = self.paths(name).override
        if wanted:
            files.remove(path)
        elif self.is_wanted(name):
            files.write_atomically(path, MANUAL.encode(), 0o644)

    def recorded(self, name: str) -> ProcessIdentity | None:
        """Return the main process the job has recorded since this boot, alive or not, or None."""
        return noted_process(self.paths(name).record, current_boot_id())

    @as_service_error()
    def forget_process(self, name: str) -> None:
        """Remove the record of a job's process; safe to repeat.

        :raises ServiceError: it is still there.
        """
        files.remove(self.paths(name).record)

    @as_service_error()
    def remove(self, name: str) -> None:
        """Remove all files of a job that does not run.

        The job file goes first: left alone, the override would do nothing.

        :raises ServiceError: something is still there.
        """
        paths = self.paths(name)
        for path in (paths.conf, paths.override, paths.record, paths.notify):
            files.remove(path)
