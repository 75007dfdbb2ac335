# SPDX-License-Identifier: Apache-2.0
"""Keeps the ledger in ``stats_counters.json``, in the form that Octavia's agent reads and writes.

``{"<listener>": {"bin": n, "bout": n, "ereq": n, "stot": n}}``; ours adds ``generation`` and ``origin``,
and ``owed`` where something is, so either agent can go on from the other's file.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path

from amphora.errors import StorageError
from amphora.health.counter_deltas import Entry
from amphora.health.readings import Counters
from amphora.system import files

LOG = logging.getLogger(__name__)

_MODE = 0o640


class CounterStore:
    """One file, replaced whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written: bytes | None = None

    def load(self) -> dict[str, Entry]:
        """Return what is stored. A file that cannot be read counts as none: everything is then told again."""
        try:
            data = files.read_if_present(self._path)
        except StorageError as error:
            LOG.error("statistics begin anew: %s", error)
            return {}
        if data is None:
            return {}
        try:
            return decode(data)
        except ValueError as error:
            LOG.error("statistics begin anew: %s cannot be understood: %s", self._path, error)
            return {}

    def save(self, entries: Mapping[str, Entry]) -> None:
        """Write what is to be kept, unless it is there already.

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
    """Read the content of the file; entries without usable counters are passed over.

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
    fields: dict[str, object] = dict(_counter_fields(entry.seen))
    if entry.generation:
        fields["generation"] = entry.generation
    if entry.origin:
        fields["origin"] = entry.origin
    if entry.owed != Counters():
        fields["owed"] = _counter_fields(entry.owed)
    return fields


def _counter_fields(counters: Counters) -> dict[str, int]:
    return {
        "bin": counters.received,
        "bout": counters.sent,
        "ereq": counters.errors,
        "stot": counters.connections,
    }


def _entry(fields: object) -> Entry | None:
    seen = _counters(fields)
    if seen is None or not isinstance(fields, dict):
        return None
    generation, origin = fields.get("generation"), fields.get("origin")
    return Entry(
        seen,
        generation if isinstance(generation, str) else "",
        origin if isinstance(origin, str) else "",
        _counters(fields.get("owed")) or Counters(),
    )


def _counters(fields: object) -> Counters | None:
    if not isinstance(fields, dict):
        return None
    received, sent, connections, errors = (
        _number(fields.get(name)) for name in ("bin", "bout", "stot", "ereq")
    )
    if received is None or sent is None or connections is None or errors is None:
        return None
    return Counters(received, sent, connections, errors)


def _number(value: object) -> int | None:
    return value if type(value) is int and value >= 0 else None
