# SPDX-License-Identifier: Apache-2.0
"""Certificate stores that are each broken in one way, and otherwise the one on tmpfs."""

import hashlib
from dataclasses import replace
from pathlib import Path

from amphora.drivers.cert_store.tmpfs import TmpfsCertStore
from amphora.errors import StorageError


class FileModeTooOpen(TmpfsCertStore):
    def put(self, instance_id, filename, data):
        super().put(instance_id, filename, data)
        (self.directory(instance_id) / filename).chmod(0o644)


class DigestOfText(TmpfsCertStore):
    def digest(self, instance_id, filename):
        if super().digest(instance_id, filename) is None:
            return None
        text = (self.directory(instance_id) / filename).read_text(errors="replace")
        return hashlib.md5(text.strip().encode()).hexdigest()


class PutsNonAtomically(TmpfsCertStore):
    def put(self, instance_id, filename, data):
        path = self.directory(instance_id) / filename
        if not path.exists():
            super().put(instance_id, filename, data)
            return
        try:
            path.write_bytes(data)
        except OSError as error:
            raise StorageError(str(error)) from error


class DeleteSaysYes(TmpfsCertStore):
    def delete(self, instance_id, filename):
        super().delete(instance_id, filename)
        return True


class DeletesOfOthers(TmpfsCertStore):
    @classmethod
    def create(cls, context):
        store = super().create(context)
        store.base = context.certificate_directory
        return store

    def delete_all(self, instance_id):
        for directory in self.base.iterdir():
            super().delete_all(directory.name)


class KeepsKeysOnDisk(TmpfsCertStore):
    @classmethod
    def create(cls, context):
        directory = Path("/var/tmp", f"broken-{context.certificate_directory.parent.name}")
        return super().create(replace(context, certificate_directory=directory))

    def check_available(self):
        pass

    def _refuse_disk(self):
        pass


class Forgets(TmpfsCertStore):
    def recover(self):
        super().recover()
        for directory in self._base.iterdir():
            super().delete_all(directory.name)
