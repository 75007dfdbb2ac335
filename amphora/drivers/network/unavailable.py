# SPDX-License-Identifier: Apache-2.0
"""Used where no network driver can work, as for an ordinary user: it reads and changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn, Self

from amphora.drivers.base import DriverContext
from amphora.drivers.network.base import NetworkDriver
from amphora.errors import DriverUnavailable, OperationFailed
from amphora.models import Difference, Interface, InterfaceConfig
from amphora.system import interfaces


class UnavailableNetwork(NetworkDriver):
    """Refuses every change with the reason why there is no other driver.

    It is not registered and never chosen: the agent uses it when ``auto`` finds none.
    """

    def __init__(self, namespace: str, reason: str) -> None:
        self._namespace = namespace
        self._reason = reason

    @classmethod
    def create(cls, context: DriverContext) -> Self:
        """Build it without a reason from the loader."""
        return cls(context.namespace, "no network driver was chosen")

    def check_available(self) -> None:
        """Say why there is no other driver."""
        raise DriverUnavailable(self._reason)

    def persist(self, config: InterfaceConfig) -> None:
        """See the contract."""
        self._refuse()

    def forget(self, name: str) -> None:
        """See the contract: nothing was ever stored."""

    def stored(self) -> Sequence[InterfaceConfig]:
        """See the contract: nothing was ever stored."""
        return ()

    def activate(self, config: InterfaceConfig) -> None:
        """See the contract."""
        self._refuse()

    def deactivate(self, name: str) -> None:
        """See the contract."""
        self._refuse()

    def interfaces(self) -> Sequence[Interface]:
        """See the contract."""
        return interfaces.interfaces(self._namespace)

    def differences(self) -> Sequence[Difference]:
        """See the contract: nothing was ever stored."""
        return ()

    def _refuse(self) -> NoReturn:
        raise OperationFailed(self._reason)
