# SPDX-License-Identifier: Apache-2.0
"""One change to the port of an interface, as steps, and the outcome of an interrupted one."""

from __future__ import annotations

import hashlib
import logging

from amphora.core.changes.journal import Operation, OperationState
from amphora.core.changes.operations import AlreadyInEffect, Operations, Steps, has_touched
from amphora.core.network.interface_plan import without_host_routes
from amphora.drivers.network.base import NetworkDriver
from amphora.errors import InterfaceConflict, NoSuchLink, OperationFailed
from amphora.models import Difference, Interface, InterfaceConfig

LOG = logging.getLogger(__name__)

PLUG = "plug"

_AS_BEFORE = "The port is where and as it was."


class PlugChange:
    """Applies a configuration to a port, now and after a boot.

    :param former: what is stored for it, or None.
    :param was_there: its link was in the data namespace before.
    """

    def __init__(
        self, network: NetworkDriver, config: InterfaceConfig, former: InterfaceConfig | None, was_there: bool
    ) -> None:
        self._network = network
        self._config = config
        self._former = former
        self._was_there = was_there

    def make(self, operations: Operations) -> None:
        """Run the steps.

        :raises NoSuchLink: the port did not appear in time.
        :raises InterfaceConflict: it carries the agent's own traffic.
        :raises ChangeFailed: it could not be done.
        """
        steps = Steps(
            PLUG,
            _target(self._config.mac_address),
            # Stored first: after a crash the agent completes the plug when it starts.
            swap=lambda: self._network.persist(self._config),
            apply=self._activate,
            prove=self._prove,
            restore=self._restore,
        )
        operations.run(steps, intent=_intent(self._config))

    def _activate(self) -> None:
        try:
            self._network.activate(self._config)
        except (NoSuchLink, InterfaceConflict):
            raise
        except OperationFailed as error:
            without = without_host_routes(self._config)
            if without == self._config:
                raise
            # Tenants write host routes; one that the kernel refuses must not cost them the port.
            self._network.persist(without)
            self._network.activate(without)
            LOG.warning("%s is configured without its host routes: %s", self._config.name, error)

    def _prove(self) -> str:
        different = self._differences()
        if different:
            raise OperationFailed("; ".join(_text(each) for each in different))
        return self._evidence()

    def _restore(self) -> str:
        stored = {config.name: config for config in self._network.stored()}.get(self._config.name)
        if stored is not None and _is_intended(stored, _intent(self._config)) and not self._differences():
            raise AlreadyInEffect(self._evidence())
        if stored != self._former:
            self._store_former()
        if self._former is not None:
            self._network.activate(self._former)
        elif not self._was_there and self._is_there():
            self._network.deactivate(self._config.name)
        return _AS_BEFORE

    def _store_former(self) -> None:
        if self._former is None:
            self._network.forget(self._config.name)
        else:
            self._network.persist(self._former)

    def _is_there(self) -> bool:
        return self._interface() is not None

    def _evidence(self) -> str:
        interface = self._interface()
        held = [str(each) for each in interface.addresses if not each.is_link_local] if interface else []
        return f"{self._config.name} is up with {', '.join(held) or 'no address yet'}"

    def _interface(self) -> Interface | None:
        mac_address = self._config.mac_address
        found = (each for each in self._network.interfaces() if each.mac_address == mac_address)
        return next(found, None)

    def _differences(self) -> list[Difference]:
        return _differences_of(self._network, self._config.name)


def settle_plugs(network: NetworkDriver, operations: Operations) -> None:
    """Settle interrupted plugs. Called once, after all were restored."""
    for operation in operations.unsettled():
        if operation.kind == PLUG:
            try:
                operations.settle(operation, *_outcome(network, operation))
            except OperationFailed as error:
                operations.settle_failed(operation.target, error)


def _outcome(network: NetworkDriver, operation: Operation) -> tuple[OperationState, str]:
    configs = network.stored()
    stored = next((each for each in configs if _target(each.mac_address) == operation.target), None)
    if stored is None:
        return OperationState.UNDONE, "nothing is stored for the port"
    different = _differences_of(network, stored.name)
    if different and has_touched(operation):
        return OperationState.FAILED, "; ".join(_text(each) for each in different)
    is_made = _is_intended(stored, operation.intent)
    return OperationState.DONE if is_made else OperationState.UNDONE, f"{stored.name} is as it is stored"


def _differences_of(network: NetworkDriver, name: str) -> list[Difference]:
    return [each for each in network.differences() if each.subject == name]


def _text(difference: Difference) -> str:
    return f"{difference.subject}: {difference.reason.value}: {difference.desired}, found {difference.found}"


def _target(mac_address: str) -> str:
    return f"port-{mac_address}"


def _intent(config: InterfaceConfig) -> str:
    return " ".join(dict.fromkeys(_digest(each) for each in (config, without_host_routes(config))))


def _is_intended(stored: InterfaceConfig, intent: str) -> bool:
    return _digest(stored) in intent.split()


def _digest(config: InterfaceConfig) -> str:
    return hashlib.sha256(repr(config).encode()).hexdigest()
