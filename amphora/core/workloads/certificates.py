# SPDX-License-Identifier: Apache-2.0
"""Tenant certificates of instances."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass

from cryptography import x509

from amphora.core import pem
from amphora.core.changes.expected import ANYTHING, Expected, etag_of
from amphora.core.changes.journal import OperationState
from amphora.core.changes.locks import InstanceLocks
from amphora.core.changes.operations import AlreadyInEffect, Operations, Steps
from amphora.core.changes.service_changes import drop_journal_if_deleted
from amphora.core.changes.single_flight import SingleFlight
from amphora.core.workloads.haproxy import HaproxyWorkload
from amphora.core.workloads.haproxy_files import certificates_of, certificates_target
from amphora.drivers.cert_store.base import CertStore
from amphora.errors import CertificateNotFound, InvalidFilename, ProofFailed
from amphora.haproxy.reading.certificates import names_of

LOG = logging.getLogger(__name__)

_LONGEST_FILENAME = 255


@dataclass(frozen=True, slots=True)
class CertificateRules:
    """What may be stored for an instance, and under which names. No name ever leads out of its directory.

    :ivar filename: what a file's name must match as a whole.
    :ivar pairs_only: each file holds a certificate and its key; else a file may be anything that haproxy
        reads, such as a list of certificates, an authority or a revocation list.
    """

    filename: re.Pattern[str]
    pairs_only: bool


#: Files named for the common name of the certificate in them.
NAMED_PAIRS = CertificateRules(
    re.compile(r"(WILDCARD\.)?[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?\.pem"), pairs_only=True
)
#: Files named by digests and ids.
ANY_CONTENT = CertificateRules(re.compile(r"[A-Za-z0-9_-]+\.pem"), pairs_only=False)


class Certificates:
    """Upload, digest and removal of certificate files. What runs sees a change at its next reload."""

    def __init__(
        self,
        store: CertStore,
        instance: Callable[[str], HaproxyWorkload],
        locks: InstanceLocks,
        operations: Operations,
    ) -> None:
        self._store = store
        self._operations = operations
        self._instance = instance
        self._locks = locks
        self._single_flight = SingleFlight[None]()

    def put(
        self,
        instance_id: str,
        filename: str,
        data: bytes,
        *,
        instance_must_exist: bool,
        rules: CertificateRules = NAMED_PAIRS,
        expected: Expected = ANYTHING,
    ) -> None:
        """Check and store a PEM file, replacing a former one. Safe to repeat.

        Who asks for what is under way already gets its outcome.

        :param instance_must_exist: refuse it while the instance has no stored configuration.
        :raises InstanceNotFound: it has none.
        :raises InvalidFilename: the name is not of the allowed form.
        :raises InvalidInput: one of the reasons of :func:`amphora.core.pem.check_certificate_and_key`.
        :raises PreconditionFailed: the stored file is not the expected one.
        """
        _check_filename(filename, rules)

        def store() -> None:
            with self._locks.hold(instance_id):
                if instance_must_exist:
                    self._instance(instance_id).configuration()
                if rules.pairs_only:
                    _note_name(filename, pem.check_certificate_and_key(data), instance_id)
                expected.require_digest(self._store.digest(instance_id, filename))
                self._put(instance_id, filename, data)

        self._single_flight.join((instance_id, instance_must_exist, filename, data, rules, expected), store)

    def digest(self, instance_id: str, filename: str, rules: CertificateRules = NAMED_PAIRS) -> str:
        """Return the MD5 of a stored file.

        :raises InstanceNotFound: there is no such file, nor an instance.
        :raises CertificateNotFound: there is an instance, but no such file.
        :raises InvalidFilename: the name is not of the allowed form.
        """
        _check_filename(filename, rules)
        digest = self._store.digest(instance_id, filename)
        if digest is None:
            self._instance(instance_id).configuration()
            raise CertificateNotFound(filename)
        return digest

    def delete(
        self,
        instance_id: str,
        filename: str,
        rules: CertificateRules = NAMED_PAIRS,
        expected: Expected = ANYTHING,
    ) -> None:
        """Remove a file. A running haproxy keeps what it has loaded until its next reload.

        Who asks for what is under way already gets its outcome.

        :raises InstanceNotFound: there is no such file, nor an instance.
        :raises CertificateNotFound: there is an instance, but no such file.
        :raises PreconditionFailed: the stored file is not the expected one.
        :raises InvalidFilename: the name is not of the allowed form.
        """
        _check_filename(filename, rules)

        def remove() -> None:
            with self._locks.hold(instance_id):
                digest = self.digest(instance_id, filename, rules)
                expected.require_digest(digest)
                self._delete(instance_id, filename)

        self._single_flight.join((instance_id, filename, expected), remove)

    def recover(self) -> None:
        """Say what became of changes that were cut off: each file is whole. Called once, at start.

        :raises StorageError: a file is there but cannot be read.
        """
        for operation in self._operations.unsettled():
            instance_id = certificates_of(operation.target)
            if instance_id is None:
                continue
            filename = operation.intent.partition(" ")[0]
            found = self._store.digest(instance_id, filename) if filename else None
            is_made = operation.intent == _intent(filename, found)
            state = OperationState.DONE if is_made else OperationState.UNDONE
            self._operations.settle(operation, state, f"{filename} {_is_stored(found)}")

    def _put(self, instance_id: str, filename: str, data: bytes) -> None:
        digest = etag_of(data)
        steps = Steps(
            "put",
            certificates_target(instance_id),
            swap=lambda: self._store.put(instance_id, filename, data),
            prove=lambda: self._see(instance_id, filename, digest),
            restore=lambda: self._tell(instance_id, filename, digest),
        )
        self._run(instance_id, steps, _intent(filename, digest))

    def _delete(self, instance_id: str, filename: str) -> None:
        steps = Steps(
            "delete",
            certificates_target(instance_id),
            swap=lambda: self._store.delete(instance_id, filename),
            restore=lambda: self._tell(instance_id, filename, None),
        )
        self._run(instance_id, steps, _intent(filename, None))

    def _run(self, instance_id: str, steps: Steps, intent: str) -> None:
        with drop_journal_if_deleted(self._operations, steps.target, lambda: self._is_gone(instance_id)):
            self._operations.run(steps, intent)

    def _is_gone(self, instance_id: str) -> bool:
        return not (self._instance(instance_id).exists or self._store.directory(instance_id).exists())

    def _see(self, instance_id: str, filename: str, wanted: str) -> str:
        digest = self._store.digest(instance_id, filename)
        if digest != wanted:
            raise ProofFailed(f"{filename} is not what was stored a moment ago")
        return f"{filename} {_is_stored(digest)}"

    def _tell(self, instance_id: str, filename: str, wanted: str | None) -> str:
        """Say what became of a file that is replaced or removed in one instant."""
        if self._store.digest(instance_id, filename) == wanted:
            raise AlreadyInEffect(f"{filename} {_is_stored(wanted)}")
        return f"{filename} is as it was."


def _note_name(filename: str, certificate: x509.Certificate, instance_id: str) -> None:
    name = filename.removesuffix(".pem").replace("WILDCARD.", "*.", 1)
    if name not in names_of(certificate):
        LOG.info("%s of %s is not named for a name of its certificate", filename, instance_id)


def _intent(filename: str, digest: str | None) -> str:
    """Return what shows, beside the store, whether a change was made; None: the file is deleted."""
    return f"{filename} {digest}"


def _is_stored(digest: str | None) -> str:
    return "is not stored" if digest is None else f"is stored, MD5 {digest}"


def _check_filename(filename: str, rules: CertificateRules) -> None:
    if len(filename) > _LONGEST_FILENAME or not rules.filename.fullmatch(filename):
        raise InvalidFilename("A certificate's file name is its common name followed by .pem")
