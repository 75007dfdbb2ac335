# SPDX-License-Identifier: Apache-2.0
"""The contract of process managers."""

from __future__ import annotations

import abc

from amphora.drivers.base import Driver
from amphora.models import ServiceSpec, ServiceStatus


class ProcessManager(Driver):
    """Installs and runs named long-running services. It knows nothing of what they do.

    Calls for different services may come from several threads at once; calls that change one
    service are serialised by the caller, while :meth:`status` may come at any time.

    Services outlive the agent: neither its end nor its restart touches them.
    """

    @abc.abstractmethod
    def install(self, spec: ServiceSpec) -> None:
        """Make a service known, durably, without starting it.

        Afterwards a machine restart keeps it. Installing the same spec again changes nothing and
        touches no running process; a different spec replaces the stored one atomically and takes
        effect at the next start. Blocks for a few seconds at most.

        :raises ServiceError: nothing was changed.
        """

    @abc.abstractmethod
    def remove(self, name: str) -> None:
        """Stop a service and forget it without a trace. Unknown names are fine: safe to repeat.

        Blocks for the spec's ``stop_timeout`` and a few seconds more at most.

        :raises ServiceError: its processes could not be ended, or its files not be removed.
        """

    @abc.abstractmethod
    def start(self, name: str) -> None:
        """Run a service now, and again after each crash and each machine restart until stopped.

        Returns once it is ready by the spec's ``readiness``. Starting a running service changes
        nothing. When it fails nothing of it runs, it counts as stopped, and it is not retried.
        Blocks for ``start_timeout`` at most.

        :raises ServiceError: unknown name, the check refused it, or it did not become ready; the
            error holds the output of the check or of the service.
        """

    @abc.abstractmethod
    def stop(self, name: str) -> None:
        """End all processes of a service; it stays installed and is not started again by itself.

        Stopping a stopped or unknown service is fine. SIGTERM first, SIGKILL after
        ``stop_timeout``. Blocks for that and a few seconds more at most.

        :raises ServiceError: a process survived.
        """

    @abc.abstractmethod
    def reload(self, name: str) -> None:
        """Run the spec's check and send its reload signal to the main process.

        Says nothing about whether the reload took effect: that is for the caller to prove. The
        main process keeps its id.

        :raises ServiceError: it does not run, or the check refused it; no signal was sent.
        """

    @abc.abstractmethod
    def status(self, name: str) -> ServiceStatus:
        """Return what the service is doing now, from running processes rather than stored state.

        Never forks, never waits for a change, blocks for a second at most, safe to repeat.
        An unknown name is ``ABSENT``. A pid is given only together with its start time, and only
        while that very process lives.

        :raises ServiceError: the state cannot be found out.
        """

    def begin_output(self, name: str) -> None:
        """Let :meth:`output` begin here, for a service that is reloaded over a socket of its own.

        Unknown names are fine, and drivers without output do nothing. Safe to repeat.
        """

    def output(self, name: str) -> str:
        """Return what a service has printed since it was last started or reloaded, as lines.

        That is since the last :meth:`start`, :meth:`reload` or :meth:`begin_output`.

        The last 64 KiB at most; what it printed over restarts by itself counts too. Empty when there is
        nothing, when this object was asked for neither, or when the driver has no output. May fork, blocks
        for some seconds at most, safe to repeat.
        """
        return ""

    @abc.abstractmethod
    def supervise(self) -> None:
        """Resume supervision of what runs and of what should run. Called once, when the agent starts.

        A running service keeps its process. One that was started and does not run, because the
        machine restarted or it crashed while no agent ran, is started in the background.

        :raises ServiceError: the stored state cannot be read.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Release everything held in this process; services go on. Called once, last."""
