# SPDX-License-Identifier: Apache-2.0
"""States of systemd units over D-Bus (org.freedesktop.systemd1(5)), and their meaning. Nothing here forks."""

from __future__ import annotations

import contextlib
import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jeepney import DBusAddress, Message, Properties
from jeepney.auth import AuthenticationError
from jeepney.io.blocking import DBusConnection, open_dbus_connection
from jeepney.wrappers import DBusErrorResponse, unwrap_msg

from amphora.drivers.process_manager.process_handle import signal_name
from amphora.errors import ServiceError
from amphora.models import ServiceState

#: Where dbus(1) puts the system bus.
SYSTEM_BUS = Path("/run/dbus/system_bus_socket")

_DESTINATION = "org.freedesktop.systemd1"
_MANAGER = DBusAddress("/org/freedesktop/systemd1", _DESTINATION, "org.freedesktop.systemd1.Manager")
_UNIT = "org.freedesktop.systemd1.Unit"
_SERVICE = "org.freedesktop.systemd1.Service"

_CLD_EXITED, _CLD_KILLED, _CLD_DUMPED = 1, 2, 3


@dataclass(frozen=True, slots=True)
class UnitState:
    """State of a service unit in systemd.

    :ivar is_enabled: it is started when the machine starts.
    :ivar needs_reload: systemd holds another version of the file than the disk.
    :ivar main_pid: 0 when there is none.
    :ivar exit_code: how the main process last ended: ``CLD_EXITED`` (1), ``CLD_KILLED`` (2) or
        ``CLD_DUMPED`` (3); 0 when it has not.
    :ivar exit_status: its exit status or signal number.
    """

    active_state: str
    sub_state: str
    is_enabled: bool
    needs_reload: bool
    result: str
    main_pid: int
    exit_code: int
    exit_status: int
    status_text: str
    invocation: str


def service_state(unit: UnitState) -> ServiceState:
    """Return the state of a service whose unit file is there."""
    if unit.active_state in ("active", "reloading", "refreshing"):
        return ServiceState.RUNNING
    if unit.active_state == "deactivating" and unit.main_pid > 0:
        return ServiceState.RUNNING
    if unit.active_state == "activating" or (unit.active_state == "deactivating" and unit.is_enabled):
        # Between a crash and the restart systemd says "activating", sub-state "auto-restart".
        return ServiceState.STARTING
    return ServiceState.FAILED if unit.is_enabled else ServiceState.STOPPED


def describe_end(unit: UnitState) -> str:
    """Return how the service last ended if that was not as asked, or an empty string."""
    if unit.result == "success":
        return ""
    if unit.exit_code == _CLD_EXITED:
        return f"it ended with exit status {unit.exit_status} (systemd: {unit.result})"
    if unit.exit_code in (_CLD_KILLED, _CLD_DUMPED):
        return f"it was killed by {signal_name(unit.exit_status)} (systemd: {unit.result})"
    return f"systemd: {unit.result}"


class SystemdBus:
    """A connection to the system bus, made when first needed and again after an error.

    :param timeout: seconds any one answer may take.
    """

    def __init__(self, path: Path = SYSTEM_BUS, timeout: float = 1.0) -> None:
        self._path = path
        self._timeout = timeout
        # One conversation at a time: the library's connection belongs to one thread.
        self._lock = threading.Lock()
        self._connection: DBusConnection | None = None

    def version(self) -> str:
        """Return the version of systemd, ``252.38-1``.

        :raises ServiceError: it did not answer.
        """
        with self._lock:
            return str(self._property(_MANAGER, "Version"))

    def release(self) -> int:
        """Return the number of systemd's release, 252.

        :raises ServiceError: it did not answer, or with a version that has no number.
        """
        version = self.version()
        number = re.search(r"\d+", version)
        if number is None:
            raise ServiceError(f"systemd reports a version without a number: {version!r}")
        return int(number[0])

    def unit(self, name: str) -> UnitState:
        """Return the state of a unit; one that systemd cannot find is ``inactive``.

        :param name: with its suffix, ``foo.service``.
        :raises ServiceError: systemd did not answer.
        """
        path = f"/org/freedesktop/systemd1/unit/{escape_label(name)}"
        unit = DBusAddress(path, _DESTINATION, _UNIT)
        service = DBusAddress(path, _DESTINATION, _SERVICE)
        with self._lock:
            return UnitState(
                active_state=str(self._property(unit, "ActiveState")),
                sub_state=str(self._property(unit, "SubState")),
                is_enabled=self._property(unit, "UnitFileState") == "enabled",
                needs_reload=bool(self._property(unit, "NeedDaemonReload")),
                result=str(self._property(service, "Result")),
                main_pid=int(self._property(service, "MainPID")),
                exit_code=int(self._property(service, "ExecMainCode")),
                exit_status=int(self._property(service, "ExecMainStatus")),
                status_text=str(self._property(service, "StatusText")),
                invocation=bytes(self._property(unit, "InvocationID")).hex(),
            )

    def close(self) -> None:
        """End the connection; safe to repeat."""
        with self._lock:
            self._drop()

    def _property(self, address: DBusAddress, name: str) -> Any:
        try:
            return self._ask(Properties(address).get(name))[0][1]
        except DBusErrorResponse as error:
            raise ServiceError(f"systemd refused property {name}: {error}") from error
        except (OSError, AuthenticationError) as error:
            raise ServiceError(f"systemd does not answer on {self._path}: {error}") from error

    def _ask(self, message: Message) -> tuple[Any, ...]:
        fresh = self._connection is None
        try:
            return self._converse(message)
        except ConnectionError:
            # The bus was restarted since the last question.
            if fresh:
                raise
            return self._converse(message)

    def _converse(self, message: Message) -> tuple[Any, ...]:
        if self._connection is None:
            self._connection = open_dbus_connection(f"unix:path={self._path}", auth_timeout=self._timeout)
        try:
            reply = self._connection.send_and_get_reply(message, timeout=self._timeout)
        except OSError:
            # After a time-out too: a late answer must not be taken for the next one.
            self._drop()
            raise
        return tuple(unwrap_msg(reply))

    def _drop(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.close()
        self._connection = None


def escape_label(name: str) -> str:
    """Return a unit name as part of an object path: all but ASCII letters and digits as ``_xx``.

    A digit in front is escaped too, as systemd does (sd_bus_path_encode(3)).
    """
    escaped = ""
    for position, byte in enumerate(name.encode()):
        character = chr(byte)
        plain = character.isascii() and character.isalnum() and not (position == 0 and character.isdigit())
        escaped += character if plain else f"_{byte:02x}"
    return escaped
