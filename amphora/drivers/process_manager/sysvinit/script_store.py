# SPDX-License-Identifier: Apache-2.0
"""The state of services under sysvinit: their init scripts, the links of the runlevels and pid files."""

from __future__ import annotations

import threading
from pathlib import Path

from amphora.drivers.process_manager.records import ServiceRecord, ServiceStore
from amphora.drivers.process_manager.specs import is_service_name
from amphora.drivers.process_manager.sysvinit.scripts import ScriptPaths, is_ours, read_spec, render_script
from amphora.errors import OperationFailed, ServiceError, StorageError
from amphora.models import ServiceSpec
from amphora.system import files
from amphora.system.command import CommandRunner
from amphora.system.processes import ProcessIdentity

#: Runlevels in which services run; the links of one are like those of the others.
_RUNLEVELS = ("2", "3", "4", "5")

#: Seconds that update-rc.d may take; it orders all scripts of the machine anew.
_REGISTRATION_TIMEOUT = 20.0


class InitScriptStore(ServiceStore):
    """Keeps nothing of its own: a script carries its spec, and its links say whether it is wanted.

    Scripts without our first lines are never read, written or removed: ``ssh`` is an unknown name here.
    The main process is noted in the script's pid file, by the script or from here.

    :param root: directory of the file system.
    :param log_directory: for the output of services; made with mode 0700.
    :param boot_id: of the running kernel; a process noted under another one is forgotten.
    """

    def __init__(self, root: Path, log_directory: Path, runner: CommandRunner, boot_id: str) -> None:
        self.directory = root / "etc/init.d"
        self._root = root
        self._log_directory = log_directory
        self._runner = runner
        self._boot_id = boot_id
        # update-rc.d reads and writes the links of all services, and locks nothing.
        self._links_lock = threading.Lock()

    def paths(self, name: str) -> ScriptPaths:
        """Return what belongs to a service."""
        return ScriptPaths(
            script=self.directory / name,
            pid_file=self._root / f"run/amphora-service.{name}.pid",
            lock=self._root / f"run/amphora-service.{name}.lock",
            log=self._log_directory / f"{name}.log",
        )

    def sweep(self) -> None:
        """See the base class."""
        try:
            # Not of /run, where others write, and which is empty after a restart of the machine anyway.
            files.sweep_temporaries(self.directory)
        except StorageError as error:
            raise ServiceError(error.details) from error

    def names(self) -> list[str]:
        """See the base class."""
        try:
            found = files.file_names(self.directory)
            return [name for name in found if is_service_name(name) and self._read(name)]
        except StorageError as error:
            raise ServiceError(error.details) from error

    def load(self, name: str) -> ServiceRecord | None:
        """See the base class."""
        script = self._read(name)
        spec = None if script is None else read_spec(script.decode("utf-8", "replace"))
        return None if spec is None else ServiceRecord(spec, self._is_enabled(name), self.process(name))

    def save(self, record: ServiceRecord) -> None:
        """See the base class. Writes only what differs, and so renews a script of an older version."""
        name = record.spec.name
        try:
            renewed = self._write_script(record.spec)
            if record.wanted and (renewed or not self._is_enabled(name)):
                self._enable(name)
            elif not record.wanted and self._is_enabled(name):
                self._update_links(name, "disable")
            self._note_process(name, record.process)
        except StorageError as error:
            raise ServiceError(error.details) from error

    def delete(self, name: str) -> None:
        """See the base class."""
        if self._read(name) is None:
            return
        paths = self.paths(name)
        try:
            # The links first: a script without links is a stopped service, links alone are litter.
            self._update_links(name, "remove")
            for path in (paths.script, paths.pid_file, _unfinished(paths.pid_file), paths.lock):
                files.remove(path)
        except StorageError as error:
            raise ServiceError(error.details) from error

    def process(self, name: str) -> ProcessIdentity | None:
        """Return the main process that was noted in this boot, alive or not.

        :raises ServiceError: the pid file is there but cannot be read.
        """
        try:
            noted = files.read_if_present(self.paths(name).pid_file) or b""
        except StorageError as error:
            raise ServiceError(error.details) from error
        words = noted.decode("ascii", "replace").split()
        if len(words) < 3 or words[2] != self._boot_id or not all(word.isdecimal() for word in words[:2]):
            return None
        return ProcessIdentity(int(words[0]), int(words[1]))

    def _write_script(self, spec: ServiceSpec) -> bool:
        """Write a script if it is not there as it should be; return whether it replaces another one."""
        paths = self.paths(spec.name)
        script = render_script(spec, paths).encode()
        former = files.read_if_present(paths.script)
        if former == script:
            return False
        if former is not None and not is_ours(former):
            raise ServiceError(f"{paths.script} exists and was not written by amphora-agent")
        files.ensure_directory(self._log_directory, 0o700)
        files.write_atomically(paths.script, script, 0o755)
        return former is not None

    def _enable(self, name: str) -> None:
        # The first makes links where there are none, the second turns those of a stopped service.
        self._update_links(name, "defaults")
        if not self._is_enabled(name):
            self._update_links(name, "enable")
        if not self._is_enabled(name):
            raise ServiceError(f"service {name} cannot be registered: update-rc.d passes over this name")

    def _update_links(self, name: str, verb: str) -> None:
        options = ("-f",) if verb == "remove" else ()
        argv = ("update-rc.d", *options, name, verb)
        try:
            with self._links_lock:
                result = self._runner.run(argv, timeout=_REGISTRATION_TIMEOUT)
                for level in _RUNLEVELS:
                    files.make_durable(self._links(level))
        except OperationFailed as error:
            raise ServiceError(error.details) from error
        if not result.succeeded:
            raise ServiceError(f"update-rc.d {name} {verb} failed: {result.output.strip()}")

    def _is_enabled(self, name: str) -> bool:
        """Whether the service is started when the machine enters a runlevel with services."""
        for level in _RUNLEVELS:
            # S, two digits of the order, and the name.
            for link in self._links(level).glob(f"S[0-9][0-9]{name}"):
                if link.is_symlink():
                    return True
        return False

    def _links(self, level: str) -> Path:
        return self._root / f"etc/rc{level}.d"

    def _note_process(self, name: str, process: ProcessIdentity | None) -> None:
        path = self.paths(name).pid_file
        if process is None:
            files.remove(path)
        elif process != self.process(name):
            text = f"{process.pid}\n{process.start_ticks} {self._boot_id}\n"
            files.write_atomically(path, text.encode("ascii"), 0o644)

    def _read(self, name: str) -> bytes | None:
        """Return a script of ours, or None."""
        try:
            script = files.read_if_present(self.directory / name)
        except StorageError as error:
            raise ServiceError(error.details) from error
        return script if script is not None and is_ours(script) else None


def _unfinished(pid_file: Path) -> Path:
    """Return what an interrupted script leaves beside its pid file."""
    return pid_file.with_name(f"{pid_file.name}.new")
