# SPDX-License-Identifier: Apache-2.0
"""What each listener has counted that no controller has been told yet.

Counters live in processes, and begin at zero with each reload. So each process's counters are compared
with its own former ones, and what is new is added to what is owed. A message that has gone out settles
what it told; one that could not be sent settles nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from amphora.health.readings import Counters, ProcessReading, SourceReading


@dataclass(frozen=True, slots=True)
class Entry:
    """What is kept of one listener over a restart of the agent.

    :ivar seen: the counters of its process when last looked at.
    :ivar generation: of that process; empty where it is not known.
    :ivar origin: empty where it is not known.
    """

    seen: Counters
    generation: str = ""
    origin: str = ""
    owed: Counters = Counters()


@dataclass(slots=True)
class _Account:
    origin: str
    current: str
    seen: dict[str, Counters]
    owed: Counters = field(default_factory=Counters)


class Ledger:
    """The accounts of all listeners.

    :param entries: what was kept, by listener.
    """

    def __init__(self, entries: Mapping[str, Entry] | None = None) -> None:
        self._accounts = {
            listener: _Account(entry.origin, entry.generation, {entry.generation: entry.seen}, entry.owed)
            for listener, entry in (entries or {}).items()
        }

    def note(self, process: ProcessReading) -> bool:
        """Add what is new in a reading; return whether a process was met that the ledger did not know.

        Safe to repeat with the same reading.
        """
        met_new = False
        for listener in process.listeners:
            account = self._accounts.setdefault(listener.id, _Account(process.origin, "", {}))
            met_new |= process.generation not in account.seen
            before = account.seen.get(process.generation, Counters())
            if process.generation not in account.seen and account.current == "":
                # Kept by an agent that does not tell processes apart: it may be this one or another.
                before = account.seen.pop("", before)
            account.seen[process.generation] = listener.counters
            account.owed += listener.counters.since(before)
            account.origin = process.origin
            if not process.replaced or not account.current:
                account.current = process.generation
        return met_new

    def forget(self, reading: SourceReading) -> None:
        """Drop the accounts of what exists no more, and processes that will not be read again.

        An account's current process stays: it may be one that has not answered yet. So does what is
        still owed by a listener that was taken out of a load balancer: it may come back.
        """
        served = {process.origin for process in reading.processes if not process.replaced}
        listed = {listener.id for process in reading.processes for listener in process.listeners}

        def exists(listener: str, account: _Account) -> bool:
            if not account.origin or listener in listed:
                return True
            is_out = account.origin in served and account.owed == Counters()
            return account.origin in reading.origins and not is_out

        self._accounts = {
            listener: account for listener, account in self._accounts.items() if exists(listener, account)
        }
        for account in self._accounts.values():
            for gone in account.seen.keys() - reading.generations - {account.current}:
                del account.seen[gone]

    def owed(self, listener: str) -> Counters:
        """Return what no controller has been told yet."""
        account = self._accounts.get(listener)
        return account.owed if account else Counters()

    def settle(self, listeners: Iterable[str]) -> None:
        """Count what is owed by these listeners as told."""
        for listener in listeners:
            self._accounts[listener].owed = Counters()

    def entries(self) -> dict[str, Entry]:
        """Return what to keep over a restart."""
        return {
            listener: Entry(
                account.seen.get(account.current, Counters()), account.current, account.origin, account.owed
            )
            for listener, account in self._accounts.items()
        }
