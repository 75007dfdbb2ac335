# SPDX-License-Identifier: Apache-2.0
"""What each listener has counted since the last heartbeat that was sent, and the file that keeps it.

Counters live in processes, and begin at zero with each reload. So each process's counters are compared
with its own former ones, and what is new is added to what is unsent, until a message with it has been sent.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from amphora.errors import StorageError
from amphora.health.readings import Counters, ProcessReading, SourceReading
from amphora.system import files

LOG = logging.getLogger(__name__)

_MODE = 0o640
#: Fields of the file, and the counters that they hold.
_COUNTERS = {"bin": "received", "bout": "sent", "ereq": "errors", "stot": "connections"}


@dataclass(frozen=True, slots=True)
class Entry:
    """What is kept of one listener over a restart of the agent.

    :ivar seen: the counters of its process when last read.
    :ivar generation: of that process; empty if unknown.
    :ivar origin: empty if unknown.
    """

    seen: Counters
    generation: str = ""
    origin: str = ""
    unsent: Counters = Counters()


@dataclass(slots=True)
class _Account:
    origin: str
    current: str
    seen: dict[str, Counters]
    unsent: Counters = field(default_factory=Counters)


class CounterDeltas:
    """The accounts of all listeners.

    :param entries: what was kept, by listener.
    """

    def __init__(self, entries: Mapping[str, Entry] | None = None) -> None:
        self._accounts = {
            listener: _Account(entry.origin, entry.generation, {entry.generation: entry.seen}, entry.unsent)
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
                # Kept by an agent that does not distinguish processes: it may be this one or another.
                before = account.seen.pop("", before)
            account.seen[process.generation] = listener.counters
            account.unsent += listener.counters.since(before)
            account.origin = process.origin
            if not process.replaced or not account.current:
                account.current = process.generation
        return met_new

    def forget(self, reading: SourceReading) -> None:
        """Drop the accounts of what exists no more, and processes that will not be read again.

        An account's current process stays: it may be one that has not answered yet. So does what is
        still unsent by a listener that was taken out of a load balancer: it may come back.
        """
        served = {process.origin for process in reading.processes if not process.replaced}
        listed = {listener.id for process in reading.processes for listener in process.listeners}

        def exists(listener: str, account: _Account) -> bool:
            if not account.origin or listener in listed:
                return True
            is_out = account.origin in served and account.unsent == Counters()
            return account.origin in reading.origins and not is_out

        self._accounts = {
            listener: account for listener, account in self._accounts.items() if exists(listener, account)
        }
        for account in self._accounts.values():
            for gone in account.seen.keys() - reading.generations - {account.current}:
                del account.seen[gone]

    def unsent(self, listener: str) -> Counters:
        """Return what no heartbeat has carried yet."""
        account = self._accounts.get(listener)
        return account.unsent if account else Counters()

    def mark_sent(self, listeners: Iterable[str]) -> None:
        """Count what is unsent of these listeners as sent."""
        for listener in listeners:
            self._accounts[listener].unsent = Counters()

    def entries(self) -> dict[str, Entry]:
        """Return what to keep over a restart."""
        return {
            listener: Entry(
                account.seen.get(account.current, Counters()), account.current, account.origin, account.unsent
            )
            for listener, account in self._accounts.items()
        }


class CounterStore:
    """Keeps the deltas in ``stats_counters.json``, in the form that Octavia's agent reads and writes.

    ``{"<listener>": {"bin": n, "bout": n, "ereq": n, "stot": n}}``; ours adds ``generation`` and ``origin``,
    and ``owed`` if something is unsent, so either agent can go on from the other's file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written: bytes | None = None

    def load(self) -> dict[str, Entry]:
        """Return what is stored. A file that cannot be read counts as none: everything is then sent again."""
        try:
            data = files.read_if_present(self._path)
        except StorageError as error:
            LOG.error("statistics start from zero: %s", error)
            return {}
        if data is None:
            return {}
        try:
            return decode(data)
        except ValueError as error:
            LOG.error("statistics start from zero: could not parse %s: %s", self._path, error)
            return {}

    def save(self, entries: Mapping[str, Entry]) -> None:
        """Write the entries, unless they are there already.

        :raises StorageError: the former version stays.
        """
        data = encode(entries)
        if data != self._written and (entries or self._path.exists()):
            files.write_atomically(self._path, data, _MODE)
            self._written = data


def encode(entries: Mapping[str, Entry]) -> bytes:
    """Return the content of the file."""
    return json.dumps({listener: _fields(entry) for listener, entry in sorted(entries.items())}).encode()


def decode(data: bytes) -> dict[str, Entry]:
    """Read the content of the file; entries without usable counters are skipped.

    :raises ValueError: it is no JSON object.
    """
    try:
        document = json.loads(data)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(document, dict):
        raise ValueError("not an object")
    read = {listener: _entry(fields) for listener, fields in document.items()}
    return {listener: entry for listener, entry in read.items() if entry is not None}


def _fields(entry: Entry) -> dict[str, object]:
    owed = _counter_fields(entry.unsent) if entry.unsent != Counters() else None
    others = {"generation": entry.generation, "origin": entry.origin, "owed": owed}
    return _counter_fields(entry.seen) | {name: value for name, value in others.items() if value}


def _counter_fields(counters: Counters) -> dict[str, object]:
    return {field: getattr(counters, name) for field, name in _COUNTERS.items()}


def _entry(fields: object) -> Entry | None:
    seen = _counters(fields)
    if seen is None or not isinstance(fields, dict):
        return None
    names = (fields.get(each) for each in ("generation", "origin"))
    generation, origin = (name if isinstance(name, str) else "" for name in names)
    return Entry(seen, generation, origin, _counters(fields.get("owed")) or Counters())


def _counters(fields: object) -> Counters | None:
    if not isinstance(fields, dict):
        return None
    values: dict[str, Any] = {name: fields.get(field) for field, name in _COUNTERS.items()}
    usable = all(type(value) is int and value >= 0 for value in values.values())
    return Counters(**values) if usable else None
