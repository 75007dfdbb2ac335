# SPDX-License-Identifier: Apache-2.0
"""What may come in by the port of a VIP that no security group stands before (SR-IOV)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from amphora.core.locks import INTERFACES, InstanceLocks
from amphora.core.packet_filter import FAMILY, TABLE, render_packet_filter
from amphora.core.rule_requests import AllowRule
from amphora.errors import OperationFailed, RulesFailed, StorageError
from amphora.system import files
from amphora.system.nftables import Nftables

LOG = logging.getLogger(__name__)

_FILE = "nftables-vip.rules"
_VIP_INTERFACE = "eth1"


class InterfaceRules:
    """The one packet filter of this amphora, kept in a file that outlives a reboot.

    That there is a file means that the VIP's port needs one.

    :param locks: those of the whole core.
    :param make_namespace: makes the data namespace where it is missing.
    """

    def __init__(
        self, base_path: Path, nftables: Nftables, locks: InstanceLocks, make_namespace: Callable[[], None]
    ) -> None:
        self._path = base_path / _FILE
        self._staged = base_path / f"{_FILE}.new"
        self._nftables = nftables
        self._locks = locks
        self._make_namespace = make_namespace

    def are_in_force(self) -> bool:
        """Whether this amphora filters packets.

        :raises StorageError: that cannot be found out.
        """
        return files.read_if_present(self._path) is not None

    def replace(self, interface: str, rules: Iterable[AllowRule]) -> None:
        """Let in what the rules say and nothing else; none: only what any node needs. Safe to repeat.

        All or nothing: after an error the former rules are in force, now and after a reboot.

        :param interface: the VIP's.
        :raises RulesFailed: nft refused them, or they could not be stored.
        :raises Busy: another change to interfaces took too long.
        """
        with self._locks.hold(INTERFACES):
            self._replace(interface, rules)

    def protect(self, interface: str) -> None:
        """Put the stored rules into force, or where none are stored those that let nobody in.

        Called before the port of a VIP comes up, while the lock on interfaces is held. Safe to repeat.

        :raises RulesFailed: they are not in force.
        """
        if files.read_if_present(self._path) is None:
            self._replace(interface, ())
        else:
            self._make_namespace()
            self._load_stored()

    def recover(self) -> None:
        """Put the stored rules into force again, if there are any. Called before interfaces come up.

        Rules that cannot be loaded leave nobody in who was not in before.

        :raises OperationFailed: they could not be loaded.
        """
        with self._locks.hold(INTERFACES):
            files.remove(self._staged)
            if files.read_if_present(self._path) is None:
                return
            self._make_namespace()
            try:
                self._load_stored()
            except RulesFailed:
                if not self._nftables.has_table(FAMILY, TABLE):
                    self._nftables.apply(render_packet_filter(_VIP_INTERFACE, ()))
                raise

    def _replace(self, interface: str, rules: Iterable[AllowRule]) -> None:
        self._make_namespace()
        text = render_packet_filter(interface, rules)
        try:
            files.ensure_directory(self._path.parent)
            files.write_atomically(self._staged, text.encode())
            self._nftables.check(self._staged)
            self._nftables.load(self._staged)
        except OperationFailed as error:
            files.remove(self._staged)
            raise RulesFailed(error.details) from error
        try:
            files.rename(self._staged, self._path)
        except StorageError as error:
            self._go_back()
            raise RulesFailed(error.details) from error

    def _go_back(self) -> None:
        if files.read_if_present(self._path) is None:
            self._nftables.apply(f"delete table {FAMILY} {TABLE}")
        else:
            self._load_stored()

    def _load_stored(self) -> None:
        try:
            self._nftables.load(self._path)
        except OperationFailed as error:
            raise RulesFailed(error.details) from error
