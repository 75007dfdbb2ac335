# SPDX-License-Identifier: Apache-2.0
"""Locks of the core, and their order.

There is one kind: the *instance lock*, one for each instance id, held during every change to that
instance, its certificates included. Nobody holds two of them, and no other lock is waited for while
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
    """Is told of every change while its lock is held. It must not raise, nor wait for anything."""

    def begins(self, name: str) -> None:
        """Nothing was changed yet."""

    def ends(self, name: str) -> None:
        """Everything was, or was undone."""


class Look:
    """Reading something without its lock.

    :ivar disturbed: a change to it was under way at the beginning or began meanwhile, so that what was read
        may be of two states.
    """

    __slots__ = ("disturbed",)

    def __init__(self, disturbed: bool) -> None:
        self.disturbed = disturbed


class InstanceLocks:
    """Serialises changes to one instance and lets different instances change side by side.

    :param patience: seconds to wait for the change before this one.
    """

    def __init__(self, patience: float = 40.0) -> None:
        self._patience = patience
        self._guard = threading.Lock()
        self._locks: dict[str, tuple[threading.Lock, int]] = {}
        self._looks: dict[str, list[Look]] = {}
        self._observers: list[ChangeObserver] = []

    def observe(self, observer: ChangeObserver) -> None:
        """Tell somebody of every change from now on."""
        self._observers.append(observer)

    @contextmanager
    def look(self, instance_id: str) -> Iterator[Look]:
        """Find out whether what is read in a ``with`` block was at rest. Nobody waits for anybody."""
        with self._guard:
            look = Look(instance_id in self._locks)
            self._looks.setdefault(instance_id, []).append(look)
        try:
            yield look
        finally:
            with self._guard:
                self._looks[instance_id].remove(look)
                if not self._looks[instance_id]:
                    del self._looks[instance_id]

    @contextmanager
    def hold(self, instance_id: str) -> Iterator[None]:
        """Hold the lock of one instance for the time of a ``with`` block.

        :raises Busy: another change to it did not end in time.
        """
        lock = self._enter(instance_id)
        try:
            if not lock.acquire(timeout=self._patience):
                raise Busy(
                    f"Another change to {instance_id} has been running for more than "
                    f"{self._patience:g} s; try again later"
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
            for look in self._looks.get(instance_id, ()):
                look.disturbed = True
            return lock

    def _leave(self, instance_id: str) -> None:
        # Locks of instances that nobody changes are forgotten, so that deleted ones cost nothing.
        with self._guard:
            lock, users = self._locks[instance_id]
            if users == 1:
                del self._locks[instance_id]
            else:
                self._locks[instance_id] = (lock, users - 1)
