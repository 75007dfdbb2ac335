# SPDX-License-Identifier: Apache-2.0
"""Tenant certificates of instances."""

from __future__ import annotations

import logging
import re

from amphora.core import pem
from amphora.core.instances import Instances
from amphora.core.locks import InstanceLocks
from amphora.drivers.cert_store.base import CertStore
from amphora.errors import CertificateNotFound, InvalidFilename

LOG = logging.getLogger(__name__)

_FILENAME = re.compile(r"(WILDCARD\.)?[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?\.pem")
_LONGEST_FILENAME = 255


class Certificates:
    """Upload, digest and removal of certificate files. What runs sees a change at its next reload."""

    def __init__(self, store: CertStore, instances: Instances, locks: InstanceLocks) -> None:
        self._store = store
        self._instances = instances
        self._locks = locks

    def put(self, instance_id: str, filename: str, data: bytes, *, instance_must_exist: bool) -> None:
        """Check and store a PEM file, replacing a former one. Safe to repeat.

        :param instance_must_exist: refuse it while the instance has no stored configuration.
        :raises InstanceNotFound: it has none.
        :raises InvalidFilename: the name is not of the allowed form.
        :raises InvalidInput: one of the reasons of :func:`amphora.core.pem.check_certificate_and_key`.
        """
        _check_filename(filename)
        with self._locks.hold(instance_id):
            if instance_must_exist:
                self._instances.require(instance_id)
            certificate = pem.check_certificate_and_key(data)
            self._store.put(instance_id, filename, data)
        name = filename.removesuffix(".pem").replace("WILDCARD.", "*.", 1)
        if name not in pem.names_of(certificate):
            LOG.info("%s of %s is named for none of its certificate's names", filename, instance_id)

    def digest(self, instance_id: str, filename: str) -> str:
        """Return the MD5 of a stored file.

        :raises InstanceNotFound: there is no such file, nor an instance.
        :raises CertificateNotFound: there is an instance, but no such file.
        :raises InvalidFilename: the name is not of the allowed form.
        """
        _check_filename(filename)
        digest = self._store.digest(instance_id, filename)
        if digest is None:
            self._instances.require(instance_id)
            raise CertificateNotFound(filename)
        return digest

    def delete(self, instance_id: str, filename: str) -> None:
        """Remove a file. A running haproxy keeps what it has loaded until its next reload.

        :raises InstanceNotFound: there is no such file, nor an instance.
        :raises CertificateNotFound: there is an instance, but no such file.
        :raises InvalidFilename: the name is not of the allowed form.
        """
        _check_filename(filename)
        with self._locks.hold(instance_id):
            if not self._store.delete(instance_id, filename):
                self._instances.require(instance_id)
                raise CertificateNotFound(filename)


def _check_filename(filename: str) -> None:
    if len(filename) > _LONGEST_FILENAME or not _FILENAME.fullmatch(filename):
        raise InvalidFilename("A certificate's file name is its common name followed by .pem")
