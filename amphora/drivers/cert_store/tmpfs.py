# SPDX-License-Identifier: Apache-2.0
"""Certificates as files on a file system in memory."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Self

from amphora.drivers.base import DriverContext
from amphora.drivers.cert_store.base import CertStore
from amphora.errors import DriverUnavailable, StorageError
from amphora.system import files, mounts


class TmpfsCertStore(CertStore):
    """Stores ``base_directory/<instance id>/<file name>``, each file 0600 in a directory 0700.

    The base directory must lie in memory: on tmpfs or ramfs, or on a file system on a RAM block device,
    as Octavia's own images have it (:func:`amphora.system.mounts.outside_memory`). Key material never
    reaches a disk. That is checked at start and again before each write, as a mount may go away under a
    running agent.
    """

    condition = "the certificate directory lies in memory"

    def __init__(self, base_directory: Path) -> None:
        self._base = base_directory

    @classmethod
    def create(cls, context: DriverContext) -> Self:
        """Build the store on ``base_cert_dir``."""
        return cls(context.certificate_directory)

    def check_available(self) -> None:
        """Return if the base directory lies in memory and can be written.

        :raises DriverUnavailable: names the directory and the device it lies on.
        """
        try:
            self._refuse_disk()
            files.ensure_directory(self._base)
        except StorageError as error:
            raise DriverUnavailable(error.details) from error
        if not os.access(self._base, os.W_OK | os.X_OK):
            raise DriverUnavailable(f"{self._base} cannot be written by this user")

    def directory(self, instance_id: str) -> Path:
        """Return the directory that configurations of this instance refer to; it may not exist yet."""
        return self._base / _plain_name(instance_id)

    def put(self, instance_id: str, filename: str, data: bytes) -> None:
        """Store a file, replacing a former one atomically.

        :raises StorageError: nothing was changed; also when the storage is not in memory.
        """
        path = self._path(instance_id, filename)
        self._refuse_disk()
        files.ensure_directory(path.parent, 0o700)
        files.write_atomically(path, data, 0o600)

    def digest(self, instance_id: str, filename: str) -> str | None:
        """Return the MD5 of the stored bytes, or None if there is no such file.

        :raises StorageError: it is there but cannot be read.
        """
        data = files.read_if_present(self._path(instance_id, filename))
        return None if data is None else hashlib.md5(data, usedforsecurity=False).hexdigest()

    def delete(self, instance_id: str, filename: str) -> bool:
        """Remove a file, and the instance's directory once it is empty; return whether it was there.

        :raises StorageError: it could not be removed.
        """
        path = self._path(instance_id, filename)
        removed = files.remove(path)
        if removed and files.is_empty_directory(path.parent):
            files.remove_tree(path.parent)
        return removed

    def delete_all(self, instance_id: str) -> None:
        """Remove all files of an instance. Safe to repeat.

        :raises StorageError: something could not be removed.
        """
        files.remove_tree(self.directory(instance_id))

    def recover(self) -> None:
        """Remove what interrupted writes left."""
        files.sweep_temporaries(self._base)
        for name in files.subdirectories(self._base):
            files.sweep_temporaries(self._base / name)

    def _path(self, instance_id: str, filename: str) -> Path:
        return self.directory(instance_id) / _plain_name(filename)

    def _refuse_disk(self) -> None:
        disk = mounts.outside_memory(self._base)
        if disk is not None:
            raise StorageError(
                f"{self._base} lies on {disk}, and private keys are only kept in memory: mount a tmpfs there "
                f"or a file system on a RAM block device (ram, zram without a backing device, device mapper "
                f"on either), or set [haproxy_amphora] base_cert_dir to a directory that lies on such"
            )


def _plain_name(name: str) -> str:
    if not name or name in (".", "..") or "/" in name or "\0" in name:
        raise StorageError("a name that would leave the certificate directory was refused")
    return name
