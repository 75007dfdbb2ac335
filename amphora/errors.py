# SPDX-License-Identifier: Apache-2.0
"""Domain errors: what went wrong, to which object, why, and what to do.

Nothing here knows HTTP; ``amphora.api.errors`` holds the one table that turns these into answers::

    AmphoraError
    ├── InvalidInput                   the caller sent something unusable
    │   ├── UnknownAction
    │   ├── InvalidConfiguration       refused by its program's own check, or not readable as a configuration
    │   ├── InvalidFilename
    │   ├── InvalidVip
    │   ├── InvalidSubnet
    │   │   ├── InvalidNetwork
    │   │   └── InvalidOwnAddress
    │   ├── InvalidFixedIp
    │   ├── CertificateMissing
    │   ├── PrivateKeyMissing
    │   ├── PrivateKeyEncrypted
    │   └── KeyMismatch
    ├── NotFound
    │   ├── InstanceNotFound
    │   ├── LvsListenerNotFound
    │   ├── VrrpNotConfigured
    │   ├── CertificateNotFound
    │   ├── OperationNotFound
    │   └── NoSuchLink
    ├── PreconditionFailed             what is stored is not what the caller expects
    ├── KeyReused                      a key of one request was given to another
    ├── InterfaceConflict              a port cannot be plugged as asked without taking it from its use
    ├── Busy                           another change holds the object for too long
    │   └── TopologyTransition
    ├── OperationFailed                the system refused or failed to do it; nothing is left half done
    │   ├── ChangeFailed               a change was undone; says why, and what is the case now
    │   ├── StepTimeout                a step of a change did not come back in time
    │   ├── InstanceActionFailed
    │   │   └── InstanceWasGone
    │   ├── LvsActionFailed
    │   ├── VrrpActionFailed
    │   │   └── VrrpWasGone
    │   ├── PlugFailed
    │   ├── RulesFailed
    │   ├── AgentConfigurationFailed
    │   ├── CommandTimeout
    │   ├── ControlSocketError         haproxy's master or stats socket gave no usable answer
    │   ├── ProofFailed                an action was carried out, but its effect could not be seen
    │   │   └── ReloadRefused
    │   ├── ServiceError
    │   └── StorageError
    └── StartupError                   the agent cannot start; exit status 2
        ├── ConfigurationError
        ├── DriverLoadError
        └── DriverUnavailable
"""

from __future__ import annotations

from collections.abc import Sequence


class AmphoraError(Exception):
    """Base of every error this package raises on purpose.

    :ivar details: one or more sentences for the operator; never holds key material.
    """

    def __init__(self, details: str) -> None:
        super().__init__(details)
        self.details = details


class InvalidInput(AmphoraError):
    """The request cannot be carried out as sent; sending it again will not help."""


class UnknownAction(InvalidInput):
    """The action asked for does not exist."""

    def __init__(self, action: str) -> None:
        super().__init__(f"Unknown action: {action}")
        self.action = action


class InvalidConfiguration(InvalidInput):
    """The uploaded configuration was refused; ``details`` is the checker's own output."""


class InvalidFilename(InvalidInput):
    """A certificate file name does not have the form the API allows."""


class InvalidVip(InvalidInput):
    """The virtual IP address of a request is not an address that an interface can hold."""


class InvalidSubnet(InvalidInput):
    """The description of a VIP's port is incomplete, malformed or contradicts itself."""


class InvalidNetwork(InvalidSubnet):
    """The subnet of a virtual address is no network, or not the one that the address is in."""


class InvalidOwnAddress(InvalidSubnet):
    """The own address of a VIP's port is none."""


class InvalidFixedIp(InvalidInput):
    """A fixed address of a member's port, or what belongs to it, is missing or unusable."""


class CertificateMissing(InvalidInput):
    """PEM data holds no usable certificate."""


class PrivateKeyMissing(InvalidInput):
    """PEM data holds no usable private key."""


class PrivateKeyEncrypted(InvalidInput):
    """PEM data holds a private key that needs a passphrase, which nobody here can type."""


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
    """keepalived has no configuration here, neither uploaded nor made from the topology."""

    def __init__(self) -> None:
        super().__init__("No keepalived configuration is stored")


class CertificateNotFound(NotFound):
    """The instance has no certificate file of this name."""

    def __init__(self, filename: str) -> None:
        super().__init__(f"No certificate with file name: {filename}")
        self.filename = filename


class OperationNotFound(NotFound):
    """No change with this id is remembered."""

    def __init__(self, identity: str) -> None:
        super().__init__(f"No operation with id {identity} is remembered")


class NoSuchLink(NotFound):
    """No network link with this MAC address is there, nor came within the time given to wait.

    Controllers look for this sentence in the details and then try again.
    """

    def __init__(self, mac_address: str) -> None:
        super().__init__(f"No suitable network interface found: none has the MAC address {mac_address}")
        self.mac_address = mac_address


class PreconditionFailed(AmphoraError):
    """What is stored is not what the caller said it expects; nothing was changed."""


class KeyReused(AmphoraError):
    """A caller gave one key to two different requests; the second was not carried out."""


class InterfaceConflict(AmphoraError):
    """The port named in the request is in use for something else."""


class Busy(AmphoraError):
    """Another change holds the object; the same request may be sent again later."""


class TopologyTransition(Busy):
    """The amphora is changing its topology, and nothing else may change meanwhile."""


class OperationFailed(AmphoraError):
    """The system could not do what was asked; the former state was kept or restored."""


class ChangeFailed(OperationFailed):
    """A change could not be made; ``details`` says why, and what is the case now.

    :ivar reason: why; where everything is as it was, that may be all there is to say.
    """

    def __init__(self, reason: str, outcome: str = "", *, is_undone: bool = True) -> None:
        super().__init__(f"{reason}\n{outcome}".rstrip())
        self.reason = reason if is_undone else self.details


class StepTimeout(OperationFailed):
    """A step of a change did not come back within its time limit."""


class InstanceActionFailed(OperationFailed):
    """Starting, stopping or reloading an instance failed.

    :ivar action: the verb, ``start``, ``stop`` or ``reload``.
    """

    def __init__(self, action: str, details: str) -> None:
        super().__init__(details)
        self.action = action


class InstanceWasGone(InstanceActionFailed):
    """An instance that was to be stopped had ended by itself; nothing of it is left to stop."""


class LvsActionFailed(OperationFailed):
    """Starting, stopping, restarting or deleting an LVS listener failed.

    :ivar action: the verb, ``start``, ``stop``, ``restart``, ``delete`` or ``upload``.
    """

    def __init__(self, action: str, listener_id: str, details: str) -> None:
        super().__init__(details)
        self.action = action
        self.listener_id = listener_id


class PlugFailed(OperationFailed):
    """A port could not be configured; its link is back where it was.

    :ivar what: ``VIP`` or ``Port``.
    """

    def __init__(self, what: str, details: str) -> None:
        super().__init__(details)
        self.what = what


class RulesFailed(OperationFailed):
    """The rules of an interface could not be put into force; the former ones are."""


class VrrpActionFailed(OperationFailed):
    """Starting, stopping or reloading keepalived failed.

    :ivar action: the verb, ``start``, ``stop`` or ``reload``.
    """

    def __init__(self, action: str, details: str) -> None:
        super().__init__(details)
        self.action = action


class VrrpWasGone(VrrpActionFailed):
    """keepalived was to be stopped and had ended by itself; nothing of it is left to stop."""


class AgentConfigurationFailed(OperationFailed):
    """The agent's own configuration could not be replaced; the former one is in force."""


class CommandTimeout(OperationFailed):
    """A command did not finish within its time limit and was killed."""

    def __init__(self, argv: Sequence[str], seconds: float) -> None:
        super().__init__(f"{argv[0]} did not finish within {seconds:g} s and was killed")


class ControlSocketError(OperationFailed):
    """haproxy's master or stats socket is missing, refused, silent, or answered something odd."""


class ProofFailed(OperationFailed):
    """An action was carried out, but the running processes do not show its effect."""


class ReloadRefused(ProofFailed):
    """haproxy's master process could not load the new configuration; its former worker goes on."""


class ServiceError(OperationFailed):
    """A process manager could not carry out an operation on a service."""


class StorageError(OperationFailed):
    """A file could not be written, read or removed; the former version is untouched."""


class StartupError(AmphoraError):
    """The agent cannot start; ``details`` is the one sentence to print, exit status 2."""


class ConfigurationError(StartupError):
    """The agent's own configuration cannot be used."""


class DriverLoadError(StartupError):
    """A driver could not be found or imported."""


class DriverUnavailable(StartupError):
    """A driver is installed but cannot work on this machine, and says why."""
