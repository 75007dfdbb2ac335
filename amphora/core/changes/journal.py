# SPDX-License-Identifier: Apache-2.0
"""What is written about a change while it is made: one small file for each target, a line for each event.

A line is one JSON object. Every line is on disk before what it announces begins, so after a crash the
file says how far the change had come. The file of a target holds its last change only.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any

from amphora.errors import StorageError
from amphora.system import files

LOG = logging.getLogger(__name__)

#: What reading a damaged line may raise.
_DAMAGED = (ValueError, KeyError, TypeError, OverflowError, RecursionError)

#: Seconds since the epoch, in the year 9999.
_END_OF_TIME = 253_370_764_800

#: Steps in journals that an agent of a former release has written.
_FORMER_NAMES = {"act": "apply", "keep": "commit"}

_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SUFFIX = ".journal"


class OperationState(Enum):
    """How far a change has come."""

    UNDER_WAY = "under way"
    DONE = "done"
    #: Refused or undone: everything is as it was.
    UNDONE = "undone"
    #: Neither done nor wholly undone; the reason says what is left.
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One step of a change.

    :ivar seconds: it took; None while it is under way, or where the agent ended in it.
    """

    name: str
    seconds: float | None = None


@dataclass(slots=True)
class Operation:
    """One change, as ``GET /extensions/operations`` shows it.

    :ivar identity: a UUID.
    :ivar kind: such as ``reload``.
    :ivar target: what is changed, such as an instance's id.
    :ivar began: seconds since the epoch.
    :ivar intent: shows after a crash whether it was made; of a form that its kind knows.
    :ivar reason: what went wrong; empty unless something did.
    :ivar evidence: what proved the change, or what was found in place of it.
    """

    identity: str
    kind: str
    target: str
    began: float
    intent: str = ""
    state: OperationState = OperationState.UNDER_WAY
    steps: list[StepRecord] = field(default_factory=list)
    reason: str = ""
    evidence: str = ""

    @property
    def last_step(self) -> str:
        """Name of the step begun last; empty before the first."""
        return self.steps[-1].name if self.steps else ""


class Journal:
    """The journals of all targets below one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def prepare(self) -> None:
        """Make the directory and remove what interrupted writes left. Called once, at start.

        :raises StorageError: it cannot be made or written.
        """
        files.ensure_directory(self._directory, mode=0o700)
        files.sweep_temporaries(self._directory)

    def begin(self, operation: Operation) -> None:
        """Write the first line; the target's former journal is gone.

        :raises StorageError: the former journal stays.
        """
        head = {
            "operation": operation.identity,
            "kind": operation.kind,
            "target": operation.target,
            "began": operation.began,
            "intent": operation.intent,
        }
        files.ensure_directory(self._directory, mode=0o700)
        files.write_atomically(self._path(operation.target), _line(head))

    def note(self, target: str, event: Mapping[str, object]) -> None:
        """Add one event.

        :raises StorageError: it may be missing.
        """
        files.append_durably(self._path(target), _line(event))

    def forget(self, target: str) -> None:
        """Remove the journal of a target that is gone. Safe to repeat."""
        files.remove(self._path(target))

    def read_all(self) -> list[Operation]:
        """Return the last change of every target, in the order in which they began.

        A journal that cannot be read is passed over with a warning: it must not keep an agent from starting.
        """
        operations = []
        for name in files.file_names(self._directory):
            if name.endswith(_SUFFIX):
                try:
                    operations.append(read_journal(files.read_if_present(self._directory / name) or b""))
                except (*_DAMAGED, StorageError) as error:
                    LOG.warning("the journal %s cannot be read: %r", name, error)
        return sorted(operations, key=lambda operation: operation.began)

    def _path(self, target: str) -> Path:
        # MAC addresses and file names are targets too, and not all of them are names of files.
        plain = target.replace(":", "-")
        if not _PLAIN_NAME.fullmatch(plain):
            plain = hashlib.sha256(target.encode()).hexdigest()
        return self._directory / f"{plain}{_SUFFIX}"


def read_journal(data: bytes) -> Operation:
    """Return the change that a journal is of.

    A crash or a full disk may have torn a line; such a one is passed over, as what it announced had not
    begun.

    :raises ValueError: it has no usable first line.
    """
    first, *lines = data.split(b"\n")
    head = _object(first)
    identity, kind, target = (str(head[key]) for key in ("operation", "kind", "target"))
    operation = Operation(identity, kind, target, _moment(head["began"]), str(head.get("intent", "")))
    for line in filter(None, lines):
        try:
            _apply(operation, _object(line))
        except _DAMAGED:
            LOG.info("a torn line of the journal of %s is passed over", operation.target)
    return operation


def _object(line: bytes) -> dict[str, Any]:
    document = json.loads(line)
    if not isinstance(document, dict):
        raise ValueError(f"{document!r} is not an event")
    json.dumps(document, ensure_ascii=False, allow_nan=False).encode()
    return document


def _moment(value: object) -> float:
    seconds = float(str(value))
    if not 0 <= seconds < _END_OF_TIME:
        raise ValueError(f"{seconds} is no moment of an operation")
    return seconds


def _apply(operation: Operation, event: Mapping[str, Any]) -> None:
    if "seconds" in event:
        operation.steps[-1] = replace(operation.steps[-1], seconds=float(event["seconds"]))
    if "begins" in event:
        name = str(event["begins"])
        operation.steps.append(StepRecord(_FORMER_NAMES.get(name, name)))
    if "state" in event:
        operation.state = OperationState(event["state"])
        operation.reason = str(event.get("reason", ""))
        operation.evidence = str(event.get("evidence", ""))


def _line(event: Mapping[str, object]) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode() + b"\n"
