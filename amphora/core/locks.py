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

from amphora.errors import Busy

#: Name of the lock held during every change to keepalived. No instance can have this id.
KEEPALIVED = "keepalived"

#: Name of the lock held during every plug. It is not waited for while another one is held.
INTERFACES = "interfaces"


class InstanceLocks:
    """Serialises changes to one instance and lets different instances change side by side.

    :param patience: seconds to wait for the change before this one.
    """

    def __init__(self, patience: float = 40.0) -> None:
        self._patience = patience
        self._guard = threading.Lock()
        self._locks: dict[str, tuple[threading.Lock, int]] = {}

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
                yield
            finally:
                lock.release()
        finally:
            self._leave(instance_id)

    def _enter(self, instance_id: str) -> threading.Lock:
        with self._guard:
            lock, users = self._locks.get(instance_id, (threading.Lock(), 0))
            self._locks[instance_id] = (lock, users + 1)
            return lock

    def _leave(self, instance_id: str) -> None:
        # Locks of instances that nobody changes are forgotten, so that deleted ones cost nothing.
        with self._guard:
            lock, users = self._locks[instance_id]
            if users == 1:
                del self._locks[instance_id]
            else:
                self._locks[instance_id] = (lock, users - 1)
