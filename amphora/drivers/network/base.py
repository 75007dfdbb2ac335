# SPDX-License-Identifier: Apache-2.0
"""The contract of network back ends."""

from __future__ import annotations

import abc

from amphora.drivers.base import Driver
from amphora.models import InterfaceConfig


class NetworkDriver(Driver):
    """Configures interfaces of the data namespace for IPv4 and IPv6.

    Persisting and activating are separate steps, so that either can be tested and undone alone.
    Calls are serialised by the caller. The management interface is never touched.
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
    def activate(self, config: InterfaceConfig) -> None:
        """Find the link by its MAC address, move it into the data namespace, name and configure it.

        All or nothing: after an error the link is where and as it was. An interface that already
        has this configuration is left alone; safe to repeat. Blocks for seconds at most.

        :raises NotFound: no link has this MAC address.
        :raises OperationFailed: a step failed and all steps before it were undone.
        """

    @abc.abstractmethod
    def deactivate(self, name: str) -> None:
        """Take addresses, routes and rules off an interface and set it down; safe to repeat.

        :raises OperationFailed: something is still there.
        """

    @abc.abstractmethod
    def restore(self) -> None:
        """Activate every persisted interface, as after a boot. Goes on past a failing one.

        :raises OperationFailed: names every interface that could not be restored, and why.
        """
