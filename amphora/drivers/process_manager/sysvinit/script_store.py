# SPDX-License-Identifier: Apache-2.0
"""The state of services under sysvinit: their init scripts, the links of the runlevels and pid files."""

from __future__ import annotations

import threading
from pathlib import Path

from amphora.drivers.process_manager.records import ServiceRecord, ServiceStore, noted_process
from amphora.drivers.process_manager.service_errors import as_service_error
from amphora.drivers.process_manager.spec_files import SpecFiles
from amphora.drivers.process_manager.sysvinit.scripts import SCRIPT, ScriptPaths, render_script
from amphora.errors import ServiceError
from amphora.system import files
from amphora.system.command import CommandRunner
from amphora.system.processes import ProcessIdentity

#: Runlevels in which services run; the links of one are like those of the others.
_RUNLEVELS = ("2", "3", "4", "5")

#: Seconds that update-rc.d may take; it orders all scripts of the machine anew.
_REGISTRATION_TIMEOUT = 20.0


class InitScriptStore(SpecFiles, ServiceStore):
    """A script carries its spec, and its links show whether it is wanted; nothing else is stored.

    The main process is noted in the script's pid file, by the script or from here.

    :param root: directory of the file system.
    :param log_directory: for the output of services; made with mode 0700.
    :param boot_id: of the running kernel; a process noted under another one is forgotten.
    """

    def __init__(self, root: Path, log_directory: Path, runner: CommandRunner, boot_id: str) -> None:
        super().__init__(root / "etc/init.d", "", SCRIPT, 0o755)
        self._root = root
        self._log_directory = log_directory
        self._runner = runner
        self._boot_id = boot_id
        # update-rc.d reads and writes the links of all services, and locks nothing.
        self._links_lock = threading.Lock()

    def paths(self, name: str) -> ScriptPaths:
        """Return what belongs to a service."""
        return ScriptPaths(
            script=self.path(name),
            pid_file=self._root / f"run/amphora-service.{name}.pid",
            lock=self._root / f"run/amphora-service.{name}.lock",
            log=self._log_directory / f"{name}.log",
        )

    def load(self, name: str) -> ServiceRecord | None:
        """See the base class."""
        spec = self.spec(name)
        return None if spec is None else ServiceRecord(spec, self._is_enabled(name), self.process(name))

    @as_service_error()
    def save(self, record: ServiceRecord) -> None:
        """See the base class. Writes only what differs, and so renews a script of an older version."""
        name = record.spec.name
        script = render_script(record.spec, self.paths(name)).encode()
        former = self.read_own(name)
        if former != script:
            files.ensure_directory(self._log_directory, 0o700)
            self.write(name, script)
        if record.wanted and (former not in (None, script) or not self._is_enabled(name)):
            self._enable(name)
        elif not record.wanted and self._is_enabled(name):
            self._update_links(name, "disable")
        self._note_process(name, record.process)

    @as_service_error()
    def delete(self, name: str) -> None:
        """See the base class."""
        if not SCRIPT.is_ours(self.read(name)):
            return
        pid_file, lock = self.paths(name).pid_file, self.paths(name).lock
        # The links first: a script without links is a stopped service, links alone are litter.
        self._update_links(name, "remove")
        # An interrupted script leaves the third.
        for path in (self.path(name), pid_file, pid_file.with_name(f"{pid_file.name}.new"), lock):
            files.remove(path)

    def process(self, name: str) -> ProcessIdentity | None:
        """Return the main process that was noted in this boot, alive or not.

        :raises ServiceError: the pid file is there but cannot be read.
        """
        return noted_process(self.paths(name).pid_file, self._boot_id)

    def _enable(self, name: str) -> None:
        # The first makes links where there are none, the second turns those of a stopped service.
        self._update_links(name, "defaults")
        if not self._is_enabled(name):
            self._update_links(name, "enable")
        if not self._is_enabled(name):
            raise ServiceError(f"service {name} cannot be registered: update-rc.d ignores this name")

    def _update_links(self, name: str, verb: str) -> None:
        options = ("-f",) if verb == "remove" else ()
        argv = ("update-rc.d", *options, name, verb)
        with self._links_lock:
            result = self._runner.run(argv, timeout=_REGISTRATION_TIMEOUT)
            for level in _RUNLEVELS:
                files.make_durable(self._links(level))
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
