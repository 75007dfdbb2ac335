# SPDX-License-Identifier: Apache-2.0
"""The packet filter of the port of a VIP that no security group protects (SR-IOV)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from amphora.core.changes.journal import Operation, OperationState
from amphora.core.changes.locks import INTERFACES, InstanceLocks
from amphora.core.changes.operations import AlreadyInEffect, Operations, Steps, has_touched
from amphora.core.changes.single_flight import SingleFlight
from amphora.core.network.packet_filter import FAMILY, TABLE, AllowRule, fingerprint_of, render_packet_filter
from amphora.errors import AmphoraError, ChangeFailed, OperationFailed, ProofFailed, RulesFailed
from amphora.system import files
from amphora.system.nftables import Nftables

#: What the journal knows a change by; there is one packet filter.
RULES, TARGET = "rules", "packet-filter"

_FILE = "nftables-vip.rules"
_VIP_INTERFACE = "eth1"


@dataclass(frozen=True, slots=True)
class ProvenRules:
    """Rules that were in force.

    :ivar text: their file.
    :ivar content: what the kernel has of them.
    """

    text: bytes
    content: bytes


class InterfaceRules:
    """The one packet filter of this amphora, kept in a file that outlives a reboot.

    That there is a file means that the VIP's port needs one.

    :ivar path: the file.
    :ivar proven: what was last in force since the agent started, or None.
    :param locks: those of the whole core.
    :param make_namespace: makes the data namespace if it is missing.
    """

    def __init__(
        self,
        base_path: Path,
        nftables: Nftables,
        locks: InstanceLocks,
        make_namespace: Callable[[], None],
        operations: Operations,
    ) -> None:
        self.path = base_path / _FILE
        self._staged = base_path / f"{_FILE}.new"
        self._nftables = nftables
        self._locks = locks
        self._make_namespace = make_namespace
        self._operations = operations
        self._single_flight = SingleFlight[None]()
        self._seen: ProvenRules | None = None
        self.proven: ProvenRules | None = None

    def in_force(self) -> bytes | None:
        """Return what the kernel has of the packet filter now, or None. Never forks.

        :raises OperationFailed: it cannot be read.
        """
        return self._nftables.content(FAMILY, TABLE)

    def are_in_force(self) -> bool:
        """Whether this amphora filters packets.

        :raises StorageError: it cannot be read.
        """
        return files.read_if_present(self.path) is not None

    def replace(self, interface: str, rules: Iterable[AllowRule]) -> None:
        """Let in what the rules say and nothing else; none: only what any node needs. Safe to repeat.

        All or nothing: after an error the former rules are in force, now and after a reboot.

        :param interface: the VIP's.
        :raises RulesFailed: nft refused them, or they could not be stored.
        :raises Busy: another change to interfaces took too long.
        """
        text = render_packet_filter(interface, rules).encode()

        def change() -> None:
            with self._locks.hold(INTERFACES):
                self._change(text)

        self._single_flight.join(text, change)

    def protect(self, interface: str) -> None:
        """Load the stored rules, or if none are stored those that let no client in.

        Called before the port of a VIP comes up, while the lock on interfaces is held. They stay if the port
        does not come up: the next attempt needs them. Safe to repeat.

        :raises RulesFailed: they are not in force.
        """
        stored = files.read_if_present(self.path)
        self._change(render_packet_filter(interface, ()).encode() if stored is None else stored)

    def reinstate(self) -> None:
        """Store and load again what was proven last. Safe to repeat.

        :raises RulesFailed: it could not be done; the former rules are in force.
        :raises Busy: another change to interfaces took too long.
        """
        with self._locks.hold(INTERFACES):
            if self.proven is not None:
                self._change(self.proven.text)

    def recover(self) -> None:
        """Load the stored rules again, if there are any. Called before interfaces come up.

        An interrupted change is undone, unless its rules were stored already. Rules that cannot be loaded
        never let in more than before.

        :raises OperationFailed: they could not be loaded.
        """
        with self._locks.hold(INTERFACES):
            interrupted = self._operations.interrupted(TARGET)
            try:
                stored = files.read_if_present(self.path)
                if stored is not None:
                    self._make_namespace()
                    self._load_again(stored)
                elif interrupted is not None and has_touched(interrupted):
                    self._make_namespace()
                    self._remove_table()
                files.remove(self._staged)
            except AmphoraError as error:
                self._operations.settle_failed(TARGET, error)
                raise
            if interrupted is not None:
                self._operations.settle(interrupted, *_outcome(interrupted, stored))

    def _change(self, text: bytes) -> None:
        steps = Steps(
            RULES,
            TARGET,
            stage=lambda: self._stage(text),
            check=lambda: self._nftables.check(self._staged),
            apply=lambda: self._nftables.load(self._staged),
            prove=lambda: self._prove(text),
            commit=lambda: files.rename(self._staged, self.path),
            discard=self._discard,
            restore=lambda: self._restore(text),
        )
        try:
            self._operations.run(steps, intent=_intent(text))
        except ChangeFailed as error:
            raise RulesFailed(error.reason) from error
        except OperationFailed as error:
            raise RulesFailed(error.details) from error
        self.proven = self._seen

    def _stage(self, text: bytes) -> None:
        self._make_namespace()
        files.ensure_directory(self.path.parent)
        files.write_atomically(self._staged, text)

    def _prove(self, text: bytes) -> str:
        """Compare the fingerprint in the kernel, and keep the kernel's form of the rules."""
        content, fingerprint = self.in_force(), fingerprint_of(text)
        if content is None:
            raise ProofFailed(f"there is no table {FAMILY} {TABLE}")
        if fingerprint not in content:
            raise ProofFailed(f"table {FAMILY} {TABLE} has other rules than those loaded")
        self._seen = ProvenRules(text, content)
        return f"table {FAMILY} {TABLE} is in force: {fingerprint.decode() or 'of unknown origin'}"

    def _discard(self) -> str:
        files.remove(self._staged)
        return "The former rules are in force."

    def _restore(self, text: bytes) -> str:
        if not self._staged.exists():
            raise AlreadyInEffect(self._prove(text))
        former = files.read_if_present(self.path)
        if former is not None:
            self._nftables.load(self.path)
        elif self.proven is not None:
            # The file was removed from outside: the proven rules stay in force.
            former = self.proven.text
            files.write_atomically(self._staged, former)
            self._nftables.load(self._staged)
        else:
            self._remove_table()
        if former is not None:
            self._prove(former)
        return self._discard()

    def _remove_table(self) -> None:
        if self.in_force() is not None:
            self._nftables.apply(f"delete table {FAMILY} {TABLE}")

    def _load_again(self, stored: bytes) -> None:
        try:
            self._nftables.load(self.path)
            self._prove(stored)
            self.proven = self._seen
        except OperationFailed as error:
            if self.in_force() is None:
                self._nftables.apply(render_packet_filter(_VIP_INTERFACE, ()))
            raise RulesFailed(error.details) from error


def _intent(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


def _outcome(interrupted: Operation, stored: bytes | None) -> tuple[OperationState, str]:
    if has_touched(interrupted) and stored is not None and _intent(stored) == interrupted.intent:
        return OperationState.DONE, "the new rules are in force"
    return OperationState.UNDONE, "the former rules are in force"
