# SPDX-License-Identifier: Apache-2.0
"""Use cases that change instances. An instance is one supervised haproxy with one configuration."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from amphora.core.changes.expected import ANYTHING, Expected
from amphora.core.changes.locks import InstanceLocks
from amphora.core.changes.operations import Operations
from amphora.core.changes.service_changes import RELOAD, START, delete_steps, forgetting_the_gone, stop_steps
from amphora.core.changes.single_flight import SingleFlight
from amphora.core.workloads.adoption import take_over
from amphora.core.workloads.changes import Activation, Upload, certificates_target
from amphora.core.workloads.haproxy import HaproxyEngine
from amphora.core.workloads.haproxy_files import InstanceDirectory, InstanceLayout
from amphora.core.workloads.instance_recovery import settle
from amphora.drivers.cert_store.base import CertStore
from amphora.errors import (
    AmphoraError,
    ChangeFailed,
    InstanceActionFailed,
    InstanceNotFound,
    InstanceWasGone,
    InvalidConfiguration,
)
from amphora.haproxy.program import peer_name
from amphora.haproxy.proof.prove import Evidence
from amphora.haproxy.reading.configuration import parse
from amphora.models import Done, IPAddress, Outcome, ServiceState, ServiceStatus
from amphora.system import files, processes

LOG = logging.getLogger(__name__)

_PROGRAM = "haproxy"


class Instances:
    """Upload, start, stop, reload and delete. Each change holds the instance lock; reading never does.

    :param announce: told, after each start and reload, the addresses that an instance serves.
    :param on_change: called after an instance was started, reloaded, stopped or deleted, and once
        after all were recovered.
    """

    def __init__(
        self,
        directory: InstanceDirectory,
        engine: HaproxyEngine,
        operations: Operations,
        cert_store: CertStore,
        locks: InstanceLocks,
        announce: Callable[[Iterable[IPAddress]], None] = lambda _addresses: None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._directory = directory
        self._engine = engine
        self._operations = operations
        self._uploads = SingleFlight[str]()
        self._actions = SingleFlight[Outcome]()
        self._cert_store = cert_store
        self._locks = locks
        self._announce = announce
        self._on_change = on_change

    def upload(
        self,
        instance_id: str,
        data: bytes,
        amphora_id: str = "",
        *,
        may_be_idle: bool = False,
        expected: Expected = ANYTHING,
    ) -> str:
        """Check and store a configuration. A running process is not touched. Safe to repeat.

        :param amphora_id: names this amphora in ``peers`` sections, unless the configuration says otherwise;
            empty: its host name does.
        :param may_be_idle: whether it may be without any frontend.
        :returns: haproxy's own words about it.
        :raises InvalidConfiguration: haproxy's output; the former configuration stays.
        :raises PreconditionFailed: the stored configuration is not the expected one.
        """
        configuration = parse(data)
        if not may_be_idle and not configuration.frontends:
            # haproxy would accept it, as our own stats socket is something to listen on.
            raise InvalidConfiguration("The configuration has no frontend, so it would carry no traffic")
        peer = peer_name(amphora_id) if amphora_id and not configuration.local_peer else ""

        def store() -> str:
            layout = self._directory.layout(instance_id)
            with self._locks.hold(instance_id):
                expected.require(files.read_if_present(layout.stored))
                upload = Upload(self._engine, layout, data, peer)
                with forgetting_the_gone(self._operations, instance_id, lambda: not self.knows(instance_id)):
                    return self._operations.run(upload).strip()

        return self._uploads.join((instance_id, peer, data, expected), store)

    def configuration(self, instance_id: str) -> bytes:
        """Return the stored configuration, byte for byte.

        :raises InstanceNotFound: there is none.
        """
        data = files.read_if_present(self._directory.layout(instance_id).stored)
        if data is None:
            raise InstanceNotFound(instance_id)
        return data

    def knows(self, instance_id: str) -> bool:
        """Whether anything of an instance is stored."""
        return self._directory.layout(instance_id).directory.is_dir()

    def require(self, instance_id: str) -> None:
        """Return if an instance has a stored configuration.

        :raises InstanceNotFound: it has none.
        """
        self.configuration(instance_id)

    def start(self, instance_id: str) -> Outcome:
        """Start an instance; one that runs is left alone. Safe to repeat.

        :returns: what was done, for people.
        :raises InstanceNotFound: it has no stored configuration.
        :raises InstanceActionFailed: it does not run; reasons, and what was restored.
        """
        return self._actions.run(
            (instance_id, START), lambda: self._inputs(instance_id), lambda: self._start(instance_id)
        )

    def reload(self, instance_id: str) -> Outcome:
        """Reload an instance from its stored configuration; one that does not run is started.

        Who asks while a reload from the same files is under way gets its outcome; all who ask while one
        from older files is, share the next.

        :returns: what was done, for people.
        :raises InstanceNotFound: it has no stored configuration.
        :raises InstanceActionFailed: what ran before runs on; reasons, and what was restored.
        """
        return self._actions.run(
            (instance_id, RELOAD), lambda: self._inputs(instance_id), lambda: self._reload(instance_id)
        )

    def stop(self, instance_id: str) -> Outcome:
        """Stop an instance; one that is stopped is left alone.

        :returns: what was done, for people.
        :raises InstanceNotFound: it has no stored configuration.
        :raises InstanceWasGone: it should have run and did not; the state is clean afterwards, so that a
            second stop succeeds.
        :raises InstanceActionFailed: a process survived.
        """
        layout = self._directory.layout(instance_id)
        with self._locks.hold(instance_id):
            self.require(instance_id)
            status = self._engine.status(layout)
            if status.state.is_at_rest:
                return Outcome(
                    Done.STOPPED, f"haproxy daemon for {instance_id} is already stopped; nothing was changed"
                )
            self._stop(layout, status)
            return Outcome(Done.STOPPED, f"haproxy daemon for {instance_id} stopped")

    def delete(self, instance_id: str, expected: Expected = ANYTHING) -> None:
        """Stop an instance and remove all of it: service, certificates, sockets, files.

        :raises InstanceNotFound: nothing of it is stored, and nothing of it runs.
        :raises PreconditionFailed: the stored configuration is not the expected one.
        :raises InstanceActionFailed: its process could not be ended; nothing was removed.
        """
        layout = self._directory.layout(instance_id)
        with self._locks.hold(instance_id):
            if self._is_gone(layout):
                raise InstanceNotFound(instance_id)
            expected.require(files.read_if_present(layout.stored))
            self._delete(layout)
            self._on_change()

    def adopt(self) -> None:
        """Take over what another agent has started. Called once, at start, before services are taken up."""
        take_over(self._directory.all(), self._engine)

    def recover(self) -> None:
        """Finish or undo what was under way when the agent ended. Called once, at start.

        One instance that cannot be recovered does not keep the others from it; it is logged.
        """
        for layout in self._directory.all():
            with self._locks.hold(layout.instance_id):
                try:
                    files.sweep_temporaries(layout.directory)
                    settle(self._engine, self._operations, layout, self._delete)
                except AmphoraError as error:
                    LOG.error("%s could not be recovered: %s", layout.instance_id, error)
                    self._operations.settle_failed(layout.instance_id, error)
        self._on_change()

    def _inputs(self, instance_id: str) -> object:
        """Return what a start or reload reads, as an identity: equal ones lead to the same result."""
        layout = self._directory.layout(instance_id)
        return tuple(
            files.identity(path)
            for path in (layout.stored, layout.local_peer, self._cert_store.directory(instance_id))
        )

    def _start(self, instance_id: str) -> Outcome:
        layout = self._directory.layout(instance_id)
        with self._locks.hold(instance_id):
            self.require(instance_id)
            status = self._engine.status(layout)
            if status.state is ServiceState.RUNNING:
                return Outcome(
                    Done.STARTED,
                    f"haproxy daemon for {instance_id} already runs (pid {status.pid}); nothing was changed",
                )
            return self._done(layout, Done.STARTED, self._activate(layout, START))

    def _reload(self, instance_id: str) -> Outcome:
        layout = self._directory.layout(instance_id)
        with self._locks.hold(instance_id):
            self.require(instance_id)
            state = self._engine.status(layout).state
            if state.is_at_rest:
                return self._done(layout, Done.STARTED, self._activate(layout, START))
            # One that has crashed should run: after a failure it does not stay stopped.
            done = Done.RELOADED if state is ServiceState.RUNNING else Done.STARTED
            return self._done(layout, done, self._activate(layout, RELOAD))

    def _activate(self, layout: InstanceLayout, kind: str) -> Evidence:
        activation = Activation(self._engine, layout, kind)
        try:
            self._operations.run(activation)
        except (ChangeFailed, InvalidConfiguration) as error:
            raise InstanceActionFailed(kind, error.details) from error
        return activation.evidence

    def _delete(self, layout: InstanceLayout) -> None:
        steps = delete_steps(
            layout.instance_id,
            _PROGRAM,
            end=partial(self._engine.remove, layout),
            remove_files=partial(self._remove_files, layout),
            is_at_rest=partial(self._is_at_rest, layout),
            is_gone=partial(self._is_gone, layout),
        )
        try:
            self._operations.run(steps)
        except ChangeFailed as error:
            raise InstanceActionFailed("stop", error.reason) from error
        for target in (layout.instance_id, certificates_target(layout.instance_id)):
            self._operations.forget(target)

    def _remove_files(self, layout: InstanceLayout) -> None:
        self._cert_store.delete_all(layout.instance_id)
        self._remove_named_sockets(layout)
        files.remove_tree(layout.directory)

    def _stop(self, layout: InstanceLayout, status: ServiceStatus) -> None:
        pid = status.pid or processes.read_pid_file(layout.pid_file)
        try:
            end = partial(self._engine.stop, layout)
            is_at_rest = partial(self._is_at_rest, layout)
            self._operations.run(stop_steps(layout.instance_id, _PROGRAM, end, is_at_rest))
        except ChangeFailed as error:
            raise InstanceActionFailed("stop", error.details) from error
        self._on_change()
        if status.pid is None:
            files.remove(layout.pid_file)
            which = f" with PID {pid}" if pid is not None else ""
            raise InstanceWasGone("stop", f"haproxy process{which} not found")

    def _is_at_rest(self, layout: InstanceLayout) -> bool:
        status = self._engine.status(layout)
        return status.state.is_at_rest and status.pid is None

    def _is_gone(self, layout: InstanceLayout) -> bool:
        # A service outlives its files where somebody removes those by hand.
        return not layout.directory.is_dir() and self._engine.status(layout).state is ServiceState.ABSENT

    def _done(self, layout: InstanceLayout, done: Done, evidence: Evidence) -> Outcome:
        configuration = parse(files.read_if_present(layout.stored) or b"")
        endpoints = (
            endpoint
            for frontend in configuration.listeners
            for bind in frontend.binds
            for endpoint in bind.endpoints
        )
        self._on_change()
        self._announce({endpoint.host for endpoint in endpoints if endpoint.host is not None})
        which = f"haproxy daemon for {layout.instance_id} {done.value} (pid {evidence.master_pid})"
        return Outcome(done, f"Configuration file is valid\n{which}\n{evidence}")

    def _remove_named_sockets(self, layout: InstanceLayout) -> None:
        # A configuration may name sockets of its own beside the instance's directory, which haproxy
        # leaves behind. Anything outside the base path is not ours to remove.
        try:
            binds = parse(files.read_if_present(layout.stored) or b"").stats_sockets
        except InvalidConfiguration:
            return
        named = [Path(endpoint.path) for bind in binds for endpoint in bind.endpoints if endpoint.path]
        # The usual one is there too where the configuration that named it is not.
        for path in (layout.named_socket, *named):
            if path.is_relative_to(layout.base_path) and ".." not in path.parts and path.is_socket():
                files.remove(path)
