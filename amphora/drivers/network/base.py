# SPDX-License-Identifier: Apache-2.0
"""The contract of network back ends."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from amphora.drivers.base import Driver
from amphora.errors import AmphoraError, OperationFailed
from amphora.models import Difference, Interface, InterfaceConfig

#: Interfaces restored side by side: each may wait for its link, and few amphorae have more.
_RESTORED_AT_ONCE = 8


class NetworkDriver(Driver):
    """Configures interfaces of the data namespace for IPv4 and IPv6.

    Persisting and activating are separate steps, so that either can be tested and undone alone.
    Calls for one interface are serialised by the caller; those for different ones may come side by
    side. A link that carries addresses of the agent's own namespace is never touched.
    """

    @abc.abstractmethod
    def persist(self, config: InterfaceConfig) -> None:
        """Store an interface's configuration durably for the next boot; nothing running changes.

        Replaces a former one atomically; safe to repeat.

        :raises StorageError: nothing was changed.
        """

    @abc.abstractmethod
    def forget(self, name: str) -> None:
        """Remove the stored configuration of an interface; safe to repeat.

        :raises StorageError: it could not be removed.
        """

    @abc.abstractmethod
    def stored(self) -> Sequence[InterfaceConfig]:
        """Return every persisted configuration, by name. Never forks; one that is unreadable is logged.

        :raises StorageError: the directory cannot be read.
        """

    @abc.abstractmethod
    def activate(self, config: InterfaceConfig) -> None:
        """Find the link by its MAC address, move it into the data namespace, name and configure it.

        Makes the data namespace if it is missing. All or nothing: after an error the link is where
        and as it was. An interface that already has this configuration is left alone; one that has
        another is changed to this. Safe to repeat. Waits some seconds for a link that is not there
        yet; apart from that blocks for about two seconds at most.

        :raises NoSuchLink: no link with this MAC address came in time.
        :raises InterfaceConflict: the link carries the agent's own traffic.
        :raises OperationFailed: a step failed and all steps before it were undone.
        """

    @abc.abstractmethod
    def deactivate(self, name: str) -> None:
        """Undo :meth:`activate`: nothing on the link, down, back in the agent's own namespace.

        What is stored stays. Safe to repeat, also for a link that is gone.

        :raises OperationFailed: something is still there.
        """

    @abc.abstractmethod
    def interfaces(self) -> Sequence[Interface]:
        """Return what the data namespace has now, loopback included. Never forks, never waits."""

    @abc.abstractmethod
    def differences(self) -> Sequence[Difference]:
        """Return the differences between what is stored and the kernel. Changes nothing; safe to repeat.

        Of every stored interface: its link, addresses, routes and rules; an interface that is stored and not
        active is a missing link. What belongs to other programs, as floating addresses, is no difference.
        May come at any time, also during a change. Never forks, blocks for a second
        at most.

        :raises OperationFailed: the kernel cannot be asked.
        """

    def restore(self) -> None:
        """Activate every persisted interface, as after a boot. Goes on past a failing one.

        :raises OperationFailed: names every interface that could not be restored, and why.
        """
        configs = self.stored()
        if not configs:
            return
        with ThreadPoolExecutor(min(len(configs), _RESTORED_AT_ONCE), "restore") as pool:
            errors = [error for error in pool.map(self._error, configs) if error]
        if errors:
            raise OperationFailed("; ".join(errors))

    def _error(self, config: InterfaceConfig) -> str:
        try:
            self.activate(config)
        except AmphoraError as error:
            return f"{config.name}: {error.details}"
        return ""
