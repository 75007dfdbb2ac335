# SPDX-License-Identifier: Apache-2.0
"""A certificate store that asks nothing of the file system, for tests of what stands on one."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Self

from amphora.drivers.base import DriverContext
from amphora.drivers.cert_store.base import CertStore
from amphora.drivers.cert_store.tmpfs import TmpfsCertStore
from amphora.errors import AmphoraError


class FakeCertStore(CertStore):
    """Keeps files on any file system: every step succeeds unless :meth:`fail_next` was called.

    haproxy reads the files by their path, so there must be real ones. The contract's promise about
    memory is kept if the directory is on a memory-backed file system.

    :ivar calls: what was asked, in order: method, and the name of the instance.
    """

    def __init__(self, directory: Path) -> None:
        self.calls: list[tuple[str, str]] = []
        self._files = _AnyFileSystem(directory)
        self._failures: dict[str, list[AmphoraError]] = defaultdict(list)

    @classmethod
    def create(cls, context: DriverContext) -> Self:
        """Build a store in the certificate directory."""
        return cls(context.certificate_directory)

    def fail_next(self, method: str, error: AmphoraError) -> None:
        """Make the next call of a method raise and change nothing; may be given several times.

        :raises ValueError: there is no such method.
        """
        if method not in CertStore.__abstractmethods__:
            raise ValueError(method)
        self._failures[method].append(error)

    def check_available(self) -> None:
        """Return at once."""
        self._called("check_available")

    def directory(self, instance_id: str) -> Path:
        """See the contract. Not noted among the calls."""
        return self._files.directory(instance_id)

    def put(self, instance_id: str, filename: str, data: bytes) -> None:
        """See the contract."""
        self._called("put", instance_id)
        self._files.put(instance_id, filename, data)

    def digest(self, instance_id: str, filename: str) -> str | None:
        """See the contract."""
        self._called("digest", instance_id)
        return self._files.digest(instance_id, filename)

    def delete(self, instance_id: str, filename: str) -> bool:
        """See the contract."""
        self._called("delete", instance_id)
        return self._files.delete(instance_id, filename)

    def delete_all(self, instance_id: str) -> None:
        """See the contract."""
        self._called("delete_all", instance_id)
        self._files.delete_all(instance_id)

    def recover(self) -> None:
        """See the contract."""
        self._called("recover")
        self._files.recover()

    def _called(self, method: str, instance_id: str = "") -> None:
        self.calls.append((method, instance_id))
        if self._failures[method]:
            raise self._failures[method].pop(0)


class _AnyFileSystem(TmpfsCertStore):
    def _refuse_disk(self) -> None:
        """Refuse none."""
