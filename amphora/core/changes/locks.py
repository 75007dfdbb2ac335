# SPDX-License-Identifier: Apache-2.0
"""Locks of the core, and their order.

There is one kind: the *instance lock*, one for each instance id, held during every change to that
instance, its certificates included. No thread holds two of them, and no other lock is waited for while
one is held but those inside drivers, which never call back. Reading takes no lock. keepalived, of which
there is one, has a lock of the same kind under the name :data:`KEEPALIVED`; so have the interfaces of
the data namespace, all together, under :data:`INTERFACES`: they share names, tables and rules.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from amphora.errors import Busy

#: Name of the lock held during every change to keepalived. No instance can have this id.
KEEPALIVED = "keepalived"

#: Name of the lock held during every plug. It is not waited for while another one is held.
INTERFACES = "interfaces"


class ChangeObserver(Protocol):
    """Is called at every change while its lock is held. It must not raise, nor wait for anything."""

    def begins(self, name: str) -> None:
        """Nothing was changed yet."""

    def ends(self, name: str) -> None:
        """Everything was, or was undone."""


class Observation:
    """Reading something without its lock.

    :ivar changed: a change to it was under way at the beginning or began meanwhile, so that what was read
        may be of two states.
    """

    __slots__ = ("changed",)

    def __init__(self, changed: bool) -> None:
        self.changed = changed


class InstanceLocks:
    """Serialises changes to one instance and lets different instances change side by side.

    :param timeout: seconds to wait for the change before this one.
    """

    def __init__(self, timeout: float = 40.0) -> None:
        self._timeout = timeout
        self._guard = threading.Lock()
        self._locks: dict[str, tuple[threading.Lock, int]] = {}
        self._observations: dict[str, list[Observation]] = {}
        self._observers: list[ChangeObserver] = []

    def notify(self, observer: ChangeObserver) -> None:
        """Call an observer at the begin and end of every change from now on."""
        self._observers.append(observer)

    @contextmanager
    def observe(self, instance_id: str) -> Iterator[Observation]:
        """Find out whether what is read in a ``with`` block was at rest. Never waits."""
        with self._guard:
            observation = Observation(instance_id in self._locks)
            self._observations.setdefault(instance_id, []).append(observation)
        try:
            yield observation
        finally:
            with self._guard:
                self._observations[instance_id].remove(observation)
                if not self._observations[instance_id]:
                    del self._observations[instance_id]

    @contextmanager
    def hold(self, instance_id: str) -> Iterator[None]:
        """Hold the lock of one instance for the time of a ``with`` block.

        :raises Busy: another change to it did not end in time.
        """
        lock = self._enter(instance_id)
        try:
            if not lock.acquire(timeout=self._timeout):
                raise Busy(
                    f"Another change to {instance_id} has been running for more than "
                    f"{self._timeout:g} s; try again later"
                )
            try:
                with self._observed(instance_id):
                    yield
            finally:
                lock.release()
        finally:
            self._leave(instance_id)

    @contextmanager
    def _observed(self, name: str) -> Iterator[None]:
        for observer in self._observers:
            observer.begins(name)
        try:
            yield
        finally:
            for observer in self._observers:
                observer.ends(name)

    def _enter(self, instance_id: str) -> threading.Lock:
        with self._guard:
            lock, users = self._locks.get(instance_id, (threading.Lock(), 0))
            self._locks[instance_id] = (lock, users + 1)
            for observation in self._observations.get(instance_id, ()):
                observation.changed = True
            return lock

    def _leave(self, instance_id: str) -> None:
        # Locks of instances that are not being changed are dropped, so that deleted ones cost nothing.
        with self._guard:
            lock, users = self._locks[instance_id]
            if users == 1:
                del self._locks[instance_id]
            else:
                self._locks[instance_id] = (lock, users - 1)
