# SPDX-License-Identifier: Apache-2.0
"""What can be seen of the processes of one instance, and what is proven of them."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise

from amphora.core.workloads.haproxy_files import HaproxyFiles
from amphora.drivers.process_manager.base import ProcessManager
from amphora.errors import ControlSocketError, ProofFailed, ServiceError
from amphora.haproxy.control.master import Master, MasterSocket, SocketlessMaster
from amphora.haproxy.control.old_workers import end_surplus
from amphora.haproxy.control.stats import StatsSocket
from amphora.haproxy.log_lines import ALERT, alerts
from amphora.haproxy.proof.probe_binds import probe_binds
from amphora.haproxy.proof.prove import (
    Evidence,
    Generation,
    ProbeBinds,
    prove,
    refusal,
    snapshot,
)
from amphora.haproxy.reading.configuration import Configuration
from amphora.models import ServiceState
from amphora.system import processes

LOG = logging.getLogger(__name__)

_SOCKET_TIMEOUT = 1.0
#: An end without output is a kill from outside, and the manager starts the same configuration again.
_FORGIVEN = 1
_LOOK_INTERVAL = 0.05


class CrashWatch:
    """Says when a proof can no longer succeed. Each process manager restarts what has ended.

    When a worker ends at start, its master says so, ends all others and itself; each further start costs
    clients as long as it takes and ends the same. A master that was killed has said nothing.

    :param name: of a service that runs haproxy.
    :param master: process id after the start or before the reload; None: it had ended at once.
    """

    def __init__(self, services: ProcessManager, name: str, master: int | None) -> None:
        self._services = services
        self._name = name
        self._masters = {master}
        self._known_ends = 0

    def abort_reason(self) -> str:
        """Return why a proof need not be waited for; empty while it may still succeed."""
        try:
            pid = self._services.status(self._name).pid
            if pid is not None:
                self._masters.add(pid)
            ends = len(self._masters) - (pid is not None)
            # Its output may have to be asked of another program.
            if ends == self._known_ends:
                return ""
            self._known_ends = ends
            if ends > _FORGIVEN:
                return f"haproxy has ended {ends} times"
            return "haproxy has ended by itself" if self._has_complained() else ""
        except ServiceError:
            return ""

    def _has_complained(self) -> bool:
        # Alerts of workers are of other things too, such as a log that is not there.
        own = [f"({master}) :" for master in self._masters]
        lines = alerts(self._services.output(self._name)).splitlines()
        return any(line.startswith(ALERT) and any(name in line for name in own) for line in lines)


class RunningHaproxy:
    """Asks the processes of one instance; changes nothing.

    :param namespace: network namespace of its binds; empty means the agent's own.
    """

    def __init__(self, own_files: HaproxyFiles, services: ProcessManager, namespace: str) -> None:
        self._files = own_files
        self._services = services
        self._namespace = namespace

    @property
    def stats(self) -> StatsSocket:
        """The socket that its worker answers on."""
        return StatsSocket(self._files.answering_socket(), _SOCKET_TIMEOUT)

    def pid(self) -> int | None:
        """Return the process id of the master, or None if it is not alive."""
        return self._services.status(self._files.service_name).pid

    def snapshot(self) -> Generation | None:
        """Return what runs, to compare with what runs later; None if the master does not answer."""
        return snapshot(self._master())

    def is_adopted(self) -> bool:
        """Whether what runs was started by another agent; it reads the stored configuration itself."""
        arguments = self._arguments()
        return str(self._files.stored) in arguments and str(self._files.running) not in arguments

    def is_other_peer(self) -> bool:
        """Whether what runs has another name among its peers than is stored."""
        arguments = self._arguments()
        running = next((after for option, after in pairwise(arguments) if option == "-L"), "")
        return bool(arguments) and running != self._files.peer()

    def await_strays(self, timeout: float) -> None:
        """Wait for processes that belong to no master any more; those of one that was killed end soon.

        :param timeout: seconds.
        """
        deadline = time.monotonic() + timeout
        while self._has_strays() and time.monotonic() < deadline:
            time.sleep(_LOOK_INTERVAL)

    def reload(self, before: Generation, deadline: float) -> None:
        """Let the master reload over its own socket, and wait for its answer; that it serves, a proof shows.

        :param before: what runs.
        :param deadline: by the monotonic clock.
        :raises ReloadRefused: the new configuration could not be loaded; haproxy's output.
        """
        master, name = self._socket(), self._files.service_name
        self._services.begin_output(name)
        try:
            verdict = master.reload(max(0.0, deadline - time.monotonic()))
        except ControlSocketError as error:
            # An older haproxy still runs, or another program has reloaded it at the same moment.
            LOG.warning("%s: how the reload went is not known yet: %s", name, error.details)
            self.await_taken_up(before, deadline)
            return
        if not verdict.loaded:
            with _with_service_output(self._services, name, verdict.words):
                raise refusal(master.processes())

    def await_taken_up(self, before: Generation, deadline: float) -> None:
        """Wait until the master has processed a reload, if only to refuse it; that it serves, a proof shows.

        Until then it binds its sockets anew, and ends where a disk that can no longer be written keeps it
        from that.

        :param deadline: by the monotonic clock.
        """
        watch = CrashWatch(self._services, self._files.service_name, before.master_pid)
        while not self.is_adopted() and time.monotonic() < deadline and not watch.abort_reason():
            now = self.snapshot()
            if now is not None and (now.master_pid, now.reloads) != (before.master_pid, before.reloads):
                return
            time.sleep(_LOOK_INTERVAL)

    def prove(
        self, configuration: Configuration, deadline: float, before: Generation | None = None
    ) -> Evidence:
        """Prove that all frontends of what was started are open; after a reload, by a new worker.

        :param deadline: by the monotonic clock.
        :param before: what was reloaded; None after a start.
        :raises ProofFailed: it could not be seen in time, or was refused; the details have haproxy's output.
        """
        master = self._master(before.pids if before else frozenset())
        watch = CrashWatch(
            self._services, self._files.service_name, before.master_pid if before else self.pid()
        )
        with _with_service_output(self._services, self._files.service_name):
            return prove(
                master,
                self.stats,
                configuration,
                deadline,
                before=before,
                probe=self._probe(),
                abort_reason=watch.abort_reason,
            )

    def end_old_workers(self, limit: int) -> None:
        """End the oldest of the replaced workers that still have clients, beyond a number.

        Not those of a process that another agent has started without a master socket.
        """
        pid = self.pid()
        if pid is None or self.is_adopted():
            return
        end_surplus(self._socket(), pid, limit, self._files.id)

    def _master(self, known: frozenset[int] = frozenset()) -> Master:
        pid = self.pid()
        if pid is not None and self.is_adopted():
            return SocketlessMaster(pid, known)
        return self._socket()

    def _socket(self) -> MasterSocket:
        return MasterSocket(self._files.master_socket, _SOCKET_TIMEOUT)

    def _probe(self) -> ProbeBinds:
        return partial(probe_binds, namespace=self._namespace, local_peer=self._files.peer())

    def _arguments(self) -> tuple[str, ...]:
        pid = self.pid()
        return processes.command_line(pid) if pid is not None else ()

    def _has_strays(self) -> bool:
        pid, named = self.pid(), str(self._files.running)
        ours = {pid, *processes.children_of(pid)} if pid is not None else set()
        return any(
            named in processes.command_line(each) for each in processes.process_ids() if each not in ours
        )


@contextmanager
def _with_service_output(services: ProcessManager, name: str, printed: str = "") -> Iterator[None]:
    """Add to a proof that fails what the service has printed since it was started or reloaded.

    :param printed: what is known of that already.
    """
    try:
        yield
    except ProofFailed as error:
        output = alerts(printed) or _output(services, name)
        raise type(error)(f"{error.details}\n{output}".rstrip()) from error


def _output(services: ProcessManager, name: str) -> str:
    try:
        status = services.status(name)
        # Of one that has ended the reason matters, which its last output is part of.
        if status.state is not ServiceState.RUNNING and status.last_error:
            return status.last_error
        return alerts(services.output(name))
    except ServiceError:
        return ""
