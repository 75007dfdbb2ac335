# SPDX-License-Identifier: Apache-2.0
"""Domain errors: what happened, to which object, why, and what to do.

Nothing here knows HTTP; ``amphora.api.errors`` holds the one table that turns these into responses.
"""

from __future__ import annotations

from collections.abc import Sequence


class AmphoraError(Exception):
    """Base of every error that this package raises on purpose.

    :ivar details: one or more sentences for the operator; never holds key material.
    """

    def __init__(self, details: str) -> None:
        super().__init__(details)
        self.details = details


class InvalidInput(AmphoraError):
    """The request is invalid; a retry will not help."""


class UnknownAction(InvalidInput):
    """The action asked for does not exist."""

    def __init__(self, action: str) -> None:
        super().__init__(f"Unknown action: {action}")
        self.action = action


class InvalidConfiguration(InvalidInput):
    """An uploaded configuration is invalid; ``details`` has the program's own output."""


class InvalidFilename(InvalidInput):
    """A certificate file name does not have the form the API allows."""


class InvalidVip(InvalidInput):
    """The virtual IP address of a request is not one that an interface can have."""


class InvalidSubnet(InvalidInput):
    """The description of a VIP's port is incomplete, malformed or contradicts itself."""


class InvalidNetwork(InvalidSubnet):
    """The subnet of a virtual address is not a network, or does not contain the address."""


class InvalidOwnAddress(InvalidSubnet):
    """The port's own address is not an IP address."""


class InvalidFixedIp(InvalidInput):
    """A fixed address of a member's port, its subnet or a route is missing or invalid."""


class CertificateMissing(InvalidInput):
    """PEM data holds no usable certificate."""


class PrivateKeyMissing(InvalidInput):
    """PEM data holds no usable private key."""


class PrivateKeyEncrypted(InvalidInput):
    """PEM data holds a private key that needs a passphrase."""


class KeyMismatch(InvalidInput):
    """The first certificate and the private key of PEM data do not belong together."""


class NotFound(AmphoraError):
    """The object named in the request does not exist here."""


class InstanceNotFound(NotFound):
    """No instance with this id has a stored configuration."""

    def __init__(self, instance_id: str) -> None:
        super().__init__(f"No instance with id {instance_id}")
        self.instance_id = instance_id


class LvsListenerNotFound(NotFound):
    """No LVS listener with this id has a stored configuration."""

    def __init__(self, listener_id: str) -> None:
        super().__init__(f"No LVS listener with id {listener_id}")
        self.listener_id = listener_id


class VrrpNotConfigured(NotFound):
    """keepalived has no configuration, neither uploaded nor made from the topology."""

    def __init__(self) -> None:
        super().__init__("No keepalived configuration is stored")


class CertificateNotFound(NotFound):
    """The instance has no certificate file of this name."""

    def __init__(self, filename: str) -> None:
        super().__init__(f"No certificate with file name: {filename}")
        self.filename = filename


class OperationNotFound(NotFound):
    """No change with this id is in the journal."""

    def __init__(self, identity: str) -> None:
        super().__init__(f"No operation with id {identity} is remembered")


class NoSuchLink(NotFound):
    """No network link with this MAC address exists, or appeared within the timeout.

    Controllers match this sentence in the details, and retry.
    """

    def __init__(self, mac_address: str) -> None:
        super().__init__(f"No suitable network interface found: none has the MAC address {mac_address}")
        self.mac_address = mac_address


class PreconditionFailed(AmphoraError):
    """The stored content is not what the caller requires; nothing was changed."""


class KeyReused(AmphoraError):
    """An idempotency key was used for two different requests; the second was not carried out."""


class InterfaceConflict(AmphoraError):
    """The port in the request is in use for something else."""


class Busy(AmphoraError):
    """Timed out waiting for another change to the object; retry later."""


class TopologyTransition(Busy):
    """The topology is changing, and nothing else may change meanwhile."""


class OperationFailed(AmphoraError):
    """The system failed to make a change; the former state was kept or restored."""


class ChangeFailed(OperationFailed):
    """A change failed; ``details`` gives the cause and the state after rollback.

    :ivar reason: the cause; after a complete rollback that is all there is to report.
    """

    def __init__(self, reason: str, outcome: str = "", *, is_undone: bool = True) -> None:
        super().__init__(f"{reason}\n{outcome}".rstrip())
        self.reason = reason if is_undone else self.details


class StepTimeout(OperationFailed):
    """A step of a change timed out."""


class ActionFailed(OperationFailed):
    """An action on something that serves traffic failed.

    :ivar action: the verb: ``start``, ``stop``, ``reload``, ``restart``, ``delete`` or ``upload``.
    """

    def __init__(self, action: str, details: str) -> None:
        super().__init__(details)
        self.action = action


class InstanceActionFailed(ActionFailed):
    """An action on an instance failed."""


class InstanceWasGone(InstanceActionFailed):
    """An instance to be stopped had ended by itself; nothing of it is left."""


class LvsActionFailed(ActionFailed):
    """An action on an LVS listener failed."""

    def __init__(self, action: str, listener_id: str, details: str) -> None:
        super().__init__(action, details)
        self.listener_id = listener_id


class VrrpActionFailed(ActionFailed):
    """An action on keepalived failed."""


class VrrpWasGone(VrrpActionFailed):
    """keepalived should be stopped and had ended by itself; nothing of it is left."""


class PlugFailed(OperationFailed):
    """A port could not be configured; its link was moved back.

    :ivar what: ``VIP`` or ``Port``.
    """

    def __init__(self, what: str, details: str) -> None:
        super().__init__(details)
        self.what = what


class RulesFailed(OperationFailed):
    """The rules of an interface could not be applied; the former ones are in force."""


class AgentConfigurationFailed(OperationFailed):
    """The agent's own configuration could not be replaced; the former one is in force."""


class CommandTimeout(OperationFailed):
    """A command did not finish within its time limit and was killed."""

    def __init__(self, argv: Sequence[str], seconds: float) -> None:
        super().__init__(f"{argv[0]} did not finish within {seconds:g} s and was killed")


class ControlSocketError(OperationFailed):
    """haproxy's master or stats socket is missing, refused, timed out, or sent an unexpected response."""


class ProofFailed(OperationFailed):
    """An action was carried out, but the running processes do not show its effect."""


class ReloadRefused(ProofFailed):
    """haproxy's master process could not load the new configuration; its former worker keeps running."""


class ServiceError(OperationFailed):
    """A process manager failed to carry out an operation on a service."""


class StorageError(OperationFailed):
    """A file could not be written, read or removed; the former version is unchanged."""


class StartupError(AmphoraError):
    """The agent cannot start; ``details`` is the one sentence to print, exit status 2."""


class ConfigurationError(StartupError):
    """The agent's own configuration cannot be used."""


class DriverLoadError(StartupError):
    """A driver could not be found or imported."""


class DriverUnavailable(StartupError):
    """A driver is installed but cannot work on this machine; ``details`` says why."""
