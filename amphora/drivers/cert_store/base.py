# SPDX-License-Identifier: Apache-2.0
"""The contract of certificate stores."""

from __future__ import annotations

import abc
from pathlib import Path

from amphora.drivers.base import Driver


class CertStore(Driver):
    """Keeps key material in memory-backed storage only, where haproxy can read it as a file.

    Instance ids are canonical UUIDs and file names have been checked by the caller to be plain
    names; a store refuses anything that would leave the instance's own directory all the same.
    Calls for one instance are serialised by the caller, except :meth:`digest` and :meth:`directory`.
    """

    @abc.abstractmethod
    def directory(self, instance_id: str) -> Path:
        """Return the directory that configurations of this instance refer to; it may not exist yet."""

    @abc.abstractmethod
    def put(self, instance_id: str, filename: str, data: bytes) -> None:
        """Store a file, replacing a former one atomically. File mode 0600, directory mode 0700.

        :raises StorageError: nothing was changed; also when the storage is not memory-backed.
        """

    @abc.abstractmethod
    def digest(self, instance_id: str, filename: str) -> str | None:
        """Return the MD5 of the stored bytes as lower-case hexadecimal, or None if there is no such file.

        :raises StorageError: it is there but cannot be read.
        """

    @abc.abstractmethod
    def delete(self, instance_id: str, filename: str) -> bool:
        """Remove a file, and the instance's directory once it is empty; return whether it was there.

        :raises StorageError: it could not be removed.
        """

    @abc.abstractmethod
    def delete_all(self, instance_id: str) -> None:
        """Remove all files of an instance. Safe to repeat.

        :raises StorageError: something could not be removed.
        """

    @abc.abstractmethod
    def recover(self) -> None:
        """Remove what interrupted writes left. Called once at start, while nothing is written."""
