# SPDX-License-Identifier: Apache-2.0
"""Certificates as files on a memory-backed file system."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Self

from amphora.drivers.base import DriverContext
from amphora.drivers.cert_store.base import CertStore
from amphora.errors import DriverUnavailable, StorageError
from amphora.system import files, mounts

_MEMORY_BACKED = ("tmpfs", "ramfs")


class TmpfsCertStore(CertStore):
    """Stores ``base_directory/<instance id>/<file name>``, each file 0600 in a directory 0700.

    The base directory must lie on tmpfs or ramfs: key material never reaches a disk. That is
    checked at start and again before each write, as a mount may go away under a running agent.
    """

    condition = "the certificate directory lies in memory"

    def __init__(self, base_directory: Path) -> None:
        self._base = base_directory

    @classmethod
    def create(cls, context: DriverContext) -> Self:
        """Build the store on ``base_cert_dir``."""
        return cls(context.certificate_directory)

    def check_available(self) -> None:
        """Return if the base directory is memory-backed and can be written.

        :raises DriverUnavailable: names the directory and what it lies on.
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

        :raises StorageError: nothing was changed; also when the storage is not memory-backed.
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
        kind = mounts.filesystem_type(self._base)
        if kind not in _MEMORY_BACKED:
            raise StorageError(
                f"{self._base} lies on {kind or 'an unknown file system'}, and private keys are only kept "
                f"in memory: mount a tmpfs there or set [haproxy_amphora] base_cert_dir"
            )


def _plain_name(name: str) -> str:
    if not name or name in (".", "..") or "/" in name or "\0" in name:
        raise StorageError("a name that would leave the certificate directory was refused")
    return name
