# SPDX-License-Identifier: Apache-2.0
"""The stats socket of a worker (management guide, sections 9.1 and 9.3)."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import MappingProxyType

from amphora.errors import ControlSocketError
from amphora.haproxy.control.control_socket import ask

#: FULL frontends serve as many clients as they may.
_SERVING = ("OPEN", "FULL")


class RowKind(Enum):
    """What a row of the statistics is about (column ``type``)."""

    FRONTEND = "0"
    BACKEND = "1"
    SERVER = "2"
    LISTENER = "3"


@dataclass(frozen=True, slots=True)
class StatRow:
    """One row of ``show stat``.

    :ivar proxy: name of the section.
    :ivar service: ``FRONTEND``, ``BACKEND``, or the server's or listener's name.
    :ivar status: such as ``OPEN``, ``UP 1/2``, ``MAINT (via b/s)``, ``no check``; may be empty.
    :ivar fields: every column by its name in the header, as text.
    """

    proxy: str
    service: str
    kind: RowKind
    status: str
    fields: Mapping[str, str]

    @property
    def is_frontend(self) -> bool:
        """Whether it is about a frontend."""
        return self.kind is RowKind.FRONTEND

    @property
    def is_server(self) -> bool:
        """Whether it is about one server of a backend."""
        return self.kind is RowKind.SERVER

    def number(self, column: str) -> int:
        """Return a counter or gauge; 0 where this haproxy has no such column or leaves it empty."""
        try:
            return int(self.fields.get(column, ""))
        except ValueError:
            return 0


class StatsSocket:
    """The stats socket of a worker. Each call is one connection.

    :param timeout: seconds that one question may take in all.
    """

    def __init__(self, path: Path, timeout: float) -> None:
        self._path = path
        self._timeout = timeout

    def info(self) -> Mapping[str, str]:
        """Return the fields of ``show info``, such as ``Pid``, ``Version``, ``Uptime_sec``.

        :raises ControlSocketError: no usable answer in time.
        """
        lines = ask(self._path, "show info", self._timeout).splitlines()
        pairs = (line.partition(": ") for line in lines)
        return MappingProxyType({name: value for name, separator, value in pairs if separator})

    def worker_pid(self) -> int:
        """Return the process id of the worker that answers.

        :raises ControlSocketError: no usable answer in time.
        """
        try:
            return int(self.info().get("Pid", ""))
        except ValueError:
            raise ControlSocketError(f"{self._path} answered 'show info' without a process id") from None

    def servers_state(self) -> str:
        """Return the output of ``show servers state``, for the ``server-state-file`` of the next worker.

        :raises ControlSocketError: no usable answer in time.
        """
        return ask(self._path, "show servers state", self._timeout)

    def statistics(self) -> tuple[StatRow, ...]:
        """Return all rows of ``show stat``.

        :raises ControlSocketError: no usable answer in time.
        """
        answer = ask(self._path, "show stat", self._timeout)
        try:
            return parse_statistics(answer)
        except ValueError as error:
            raise ControlSocketError(f"{self._path} answered 'show stat' oddly: {error}") from None


def open_frontends(rows: Iterable[StatRow]) -> frozenset[str]:
    """Return the names of the frontends that take connections, or would if their limit were higher."""
    return frozenset(row.proxy for row in rows if row.is_frontend and row.status in _SERVING)


def parse_statistics(text: str) -> tuple[StatRow, ...]:
    """Read the answer to ``show stat``. Unknown columns are kept, missing ones read as empty.

    :raises ValueError: it is not such an answer.
    """
    if not text.startswith("# pxname,svname,"):
        raise ValueError(f"no header in {text[:200]!r}")
    try:
        reader = csv.reader(io.StringIO(text.removeprefix("# ")))
        header = next(reader)
        # zip: a row cut short, or longer than the header, still counts as far as it goes.
        rows = [MappingProxyType(dict(zip(header, cells, strict=False))) for cells in reader if cells]
    except csv.Error as error:
        raise ValueError(str(error)) from None
    return tuple(row for fields in rows if (row := _row(fields)))


def _row(fields: Mapping[str, str]) -> StatRow | None:
    try:
        kind = RowKind(fields.get("type", ""))
    except ValueError:
        # Newer versions may list other kinds of rows.
        return None
    return StatRow(fields["pxname"], fields["svname"], kind, fields.get("status", ""), fields)
