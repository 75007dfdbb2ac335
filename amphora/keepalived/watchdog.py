# SPDX-License-Identifier: Apache-2.0
"""One thread that follows the running keepalived and cleans up after one that has died.

A keepalived that is killed, or that ends because of its configuration, leaves its virtual addresses on the
interface. Its peer takes over three advert intervals later, and then both nodes hold them. This thread is
notified of the death through a process descriptor at once, and removes them long before that, independently
of the process manager.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Collection
from pathlib import Path

from amphora.errors import AmphoraError
from amphora.keepalived.configuration import KeepalivedConfiguration, VirtualAddress
from amphora.keepalived.processes import KeepalivedProcesses
from amphora.keepalived.state import Notification, VrrpState, VrrpStates, parse_notifications
from amphora.system import files, namespaces
from amphora.system.addresses import HeldAddress, addresses_in, remove_addresses
from amphora.system.poll_thread import PollThread
from amphora.system.processes import ProcessIdentity

LOG = logging.getLogger(__name__)

#: Seconds between two searches for a keepalived while none is known: one that reports nothing at its start
#: is found so. And between two attempts to remove an address.
_SEARCH_INTERVAL = 1.0
_RETRY_INTERVAL = 0.1

_READ_SIZE = 64 * 1024


class Watchdog:
    """Records the states that keepalived reports, and removes orphaned virtual addresses.

    :param fifo: that keepalived writes its states to; made if missing.
    """

    def __init__(
        self, processes: KeepalivedProcesses, states: VrrpStates, fifo: Path, namespace: str
    ) -> None:
        self._processes = processes
        self._states = states
        self._fifo_path = fifo
        self._namespace = namespace
        self._guarded: tuple[KeepalivedConfiguration, ...] = ()
        # Held while addresses are removed, so that no other thread acts on them half-way.
        self._removal = threading.Lock()
        self._fifo = -1
        self._rest = b""
        self._watched: ProcessIdentity | None = None
        self._descriptor = -1
        self._due = False
        self._last_error = ""
        self._thread = PollThread("vrrp-watchdog", self._step)

    def start(self) -> None:
        """Begin to follow keepalived, one that runs already included. Safe to repeat.

        On return the states of a running keepalived are known.

        :raises StorageError: the fifo cannot be made or opened.
        """
        if self._fifo >= 0:
            return
        self._fifo = files.open_fifo(self._fifo_path)
        self._watch()
        self._read()
        self._states.save()
        self._thread.start()

    def close(self) -> None:
        """End the thread; keepalived goes on and what it writes waits in the fifo. Safe to repeat."""
        self._thread.close()
        for descriptor in (self._fifo, self._descriptor):
            if descriptor >= 0:
                os.close(descriptor)
        self._fifo = self._descriptor = -1

    def guard(self, *configurations: KeepalivedConfiguration) -> None:
        """Set whose virtual addresses are orphans without a keepalived; nothing ends the guard.

        The first is the one that keepalived is taken to run. While a configuration is being changed,
        both the former and the new one are given.
        """
        self._guarded = configurations

    def remove_orphans(self) -> tuple[HeldAddress, ...]:
        """Take guarded addresses off their interfaces if no keepalived holds them; return which.

        Safe to repeat and from any thread. When it returns, nothing else is being removed.

        :raises OperationFailed: one is still there.
        """
        with self._removal:
            # One that has just started removes them itself before anything else, and those that are there
            # later are its own.
            if self._processes.vrrp() is not None or not namespaces.exists(self._namespace):
                return ()
            doomed = self._held()
            if doomed:
                remove_addresses(self._namespace, doomed)
                LOG.warning("keepalived has died; removed %s", ", ".join(map(_text, doomed)))
            return doomed

    def _step(self, ready: Collection[int]) -> tuple[list[int], float | None]:
        try:
            return self._follow(ready)
        except Exception:
            # A death that went unnoticed meanwhile is cleaned up after at the next step.
            self._due = True
            raise

    def _follow(self, ready: Collection[int]) -> tuple[list[int], float | None]:
        if self._descriptor in ready:
            self._release()
            self._due = True
        elif self._fifo in ready:
            self._due = True
        if self._due:
            self._clean_up()
        self._read()
        self._watch()
        self._states.save()
        # A keepalived that another agent has started reports nothing here.
        reports = self._watched is not None and self._processes.foreign() is None
        seconds = None if reports else _RETRY_INTERVAL if self._due else _SEARCH_INTERVAL
        return [found for found in (self._fifo, self._descriptor) if found >= 0], seconds

    def _clean_up(self) -> None:
        if self._processes.vrrp() is not None:
            self._due = False
            return
        try:
            self.remove_orphans()
            self._processes.remove_stale_pid_files()
            self._due = False
            self._last_error = ""
        except AmphoraError as error:
            self._log_once(error.details)
        # What was written before the death must not be read as if it came after it.
        self._read()
        if self._processes.vrrp() is None:
            self._states.forget()

    def _log_once(self, error: str) -> None:
        # Once, although it is retried many times a second.
        if error != self._last_error:
            LOG.error("could not remove addresses left by a dead keepalived: %s", error)
        self._last_error = error

    def _watch(self) -> None:
        """Open a descriptor of the VRRP process if there is one that is not watched yet."""
        found = self._processes.vrrp()
        if found is None or found == self._watched:
            if found and self._processes.foreign():
                self._infer()
            return
        self._release()
        try:
            self._descriptor = os.pidfd_open(found.pid)
        except ProcessLookupError:
            self._due = True
            return
        # Checked after opening: from here on the id cannot become another process's.
        if not found.is_alive():
            self._release()
            self._due = True
            return
        self._watched = found
        if not self._states.get() and not self._states.restore(found):
            self._infer()
        self._states.belong_to(found)

    def _infer(self) -> None:
        """Infer the states of a keepalived that was started before this thread."""
        try:
            held = {each.address.ip for each in self._held()}
        except AmphoraError as error:
            LOG.warning("could not find out the state of keepalived: %s", error)
            return
        for instance in (each for running in self._guarded[:1] for each in running.instances):
            is_master = any(each.address.ip in held for each in instance.addresses)
            state = VrrpState.MASTER if is_master else VrrpState.BACKUP
            self._states.note([Notification(instance.name, state)])

    def _held(self) -> tuple[HeldAddress, ...]:
        guarded = frozenset[VirtualAddress]().union(*(each.addresses for each in self._guarded))
        if not guarded:
            return ()
        return tuple(held for held in addresses_in(self._namespace) if _is_guarded(held, guarded))

    def _release(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._watched = -1, None

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._fifo, _READ_SIZE):
                notifications, self._rest = parse_notifications(self._rest + data)
                self._states.note(notifications)
                for each in notifications:
                    LOG.info("VRRP instance %s: %s", each.instance, each.state.value)


def _is_guarded(held: HeldAddress, guarded: frozenset[VirtualAddress]) -> bool:
    return any(
        held.address.ip == each.address.ip and each.interface in ("", held.interface) for each in guarded
    )


def _text(held: HeldAddress) -> str:
    return f"{held.address} from {held.interface}"
