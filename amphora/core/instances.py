# SPDX-License-Identifier: Apache-2.0
"""Use cases that change instances. An instance is one supervised haproxy with one configuration."""

from __future__ import annotations

import logging
from pathlib import Path

from amphora.core.apply import Applier
from amphora.core.engine import HaproxyEngine
from amphora.core.layout import InstanceDirectory, InstanceLayout
from amphora.core.locks import InstanceLocks
from amphora.drivers.cert_store.base import CertStore
from amphora.errors import (
    AmphoraError,
    InstanceActionFailed,
    InstanceNotFound,
    InvalidConfiguration,
    OperationFailed,
)
from amphora.haproxy.configuration import parse
from amphora.haproxy.proof import Evidence
from amphora.models import ServiceState, ServiceStatus
from amphora.system import files, processes

LOG = logging.getLogger(__name__)


class Instances:
    """Upload, start, stop, reload and delete. Each change holds the instance lock; reading never does."""

    def __init__(
        self,
        directory: InstanceDirectory,
        engine: HaproxyEngine,
        applier: Applier,
        cert_store: CertStore,
        locks: InstanceLocks,
    ) -> None:
        self._directory = directory
        self._engine = engine
        self._applier = applier
        self._cert_store = cert_store
        self._locks = locks

    def upload(self, instance_id: str, data: bytes) -> str:
        """Check and store a configuration. A running process is not touched. Safe to repeat.

        :returns: haproxy's own words about it.
        :raises InvalidConfiguration: haproxy's output; the former configuration stays.
        """
        layout = self._directory.layout(instance_id)
        with self._locks.hold(instance_id):
            known = files.read_if_present(layout.stored) is not None
            files.ensure_directory(layout.directory)
            try:
                _, output = self._engine.stage(layout, data)
                files.rename(layout.staged, layout.stored)
                self._engine.unstage(layout)
            except BaseException:
                if not known and files.is_empty_directory(layout.directory):
                    files.remove_tree(layout.directory)
                raise
        return output.strip()

    def configuration(self, instance_id: str) -> bytes:
        """Return the stored configuration, byte for byte.

        :raises InstanceNotFound: there is none.
        """
        data = files.read_if_present(self._directory.layout(instance_id).stored)
        if data is None:
            raise InstanceNotFound(instance_id)
        return data

    def require(self, instance_id: str) -> None:
        """Return if an instance has a stored configuration.

        :raises InstanceNotFound: it has none.
        """
        self.configuration(instance_id)

    def start(self, instance_id: str) -> str:
        """Start an instance; one that runs is left alone. Safe to repeat.

        :returns: what was done, for people.
        :raises InstanceNotFound: it has no stored configuration.
        :raises InstanceActionFailed: it does not run; reasons, and what was restored.
        """
        layout = self._directory.layout(instance_id)
        with self._locks.hold(instance_id):
            self.require(instance_id)
            status = self._engine.status(layout)
            if status.state is ServiceState.RUNNING:
                return (
                    f"haproxy daemon for {instance_id} already runs (pid {status.pid}); nothing was changed"
                )
            return _done(instance_id, "started", self._applier.start(layout))

    def reload(self, instance_id: str) -> str:
        """Reload an instance from its stored configuration; one that does not run is started.

        :returns: what was done, for people.
        :raises InstanceNotFound: it has no stored configuration.
        :raises InstanceActionFailed: what ran before runs on; reasons, and what was restored.
        """
        layout = self._directory.layout(instance_id)
        with self._locks.hold(instance_id):
            self.require(instance_id)
            if self._engine.status(layout).state is ServiceState.RUNNING:
                return _done(instance_id, "reloaded", self._applier.reload(layout))
            return _done(instance_id, "started", self._applier.start(layout))

    def stop(self, instance_id: str) -> str:
        """Stop an instance; one that is stopped is left alone.

        :returns: what was done, for people.
        :raises InstanceNotFound: it has no stored configuration.
        :raises InstanceActionFailed: it should have run and did not; the state is clean afterwards, so
            that a second stop succeeds. Or a process survived.
        """
        layout = self._directory.layout(instance_id)
        with self._locks.hold(instance_id):
            self.require(instance_id)
            status = self._engine.status(layout)
            if status.state.is_at_rest:
                return f"haproxy daemon for {instance_id} is already stopped; nothing was changed"
            self._stop(layout, status)
            return f"haproxy daemon for {instance_id} stopped"

    def delete(self, instance_id: str) -> None:
        """Stop an instance and remove all of it: service, certificates, sockets, files.

        :raises InstanceNotFound: nothing of it is stored.
        :raises InstanceActionFailed: its process could not be ended; nothing was removed.
        """
        layout = self._directory.layout(instance_id)
        with self._locks.hold(instance_id):
            if not layout.directory.is_dir():
                raise InstanceNotFound(instance_id)
            try:
                self._engine.remove(layout)
            except OperationFailed as error:
                raise InstanceActionFailed("stop", error.details) from error
            self._cert_store.delete_all(instance_id)
            self._remove_named_sockets(layout)
            files.remove_tree(layout.directory)

    def recover(self) -> None:
        """Finish or undo what was under way when the agent ended. Called once, at start.

        One instance that cannot be recovered does not keep the others from it; it is logged.
        """
        for layout in self._directory.all():
            with self._locks.hold(layout.instance_id):
                try:
                    files.sweep_temporaries(layout.directory)
                    self._engine.unstage(layout)
                    self._applier.settle(layout)
                except AmphoraError as error:
                    LOG.error("%s could not be recovered: %s", layout.instance_id, error)

    def _stop(self, layout: InstanceLayout, status: ServiceStatus) -> None:
        pid = status.pid or processes.read_pid_file(layout.pid_file)
        try:
            self._engine.stop(layout)
        except OperationFailed as error:
            raise InstanceActionFailed("stop", error.details) from error
        if status.pid is None:
            files.remove(layout.pid_file)
            which = f" with PID {pid}" if pid is not None else ""
            raise InstanceActionFailed("stop", f"haproxy process{which} not found")

    def _remove_named_sockets(self, layout: InstanceLayout) -> None:
        # A configuration may name sockets of its own beside the instance's directory, which haproxy
        # leaves behind. Anything outside the base path is not ours to remove.
        try:
            binds = parse(files.read_if_present(layout.stored) or b"").stats_sockets
        except InvalidConfiguration:
            return
        named = [Path(endpoint.path) for bind in binds for endpoint in bind.endpoints if endpoint.path]
        for path in named:
            if path.is_relative_to(layout.base_path) and ".." not in path.parts and path.is_socket():
                files.remove(path)


def _done(instance_id: str, verb: str, evidence: Evidence) -> str:
    pid = evidence.master_pid
    return f"Configuration file is valid\nhaproxy daemon for {instance_id} {verb} (pid {pid})"
