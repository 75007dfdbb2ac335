# SPDX-License-Identifier: Apache-2.0
"""The fake keeps the contract where its directory is in memory, and fails when told to."""

import os

import pytest

from amphora.errors import StorageError
from amphora.testing.cert_store import ONE
from amphora.testing.fake_cert_store import FakeCertStore
from amphora.testing.suites import CertStoreSuite


class TestFakeCertStore(CertStoreSuite):
    def build(self, directory):
        return FakeCertStore(directory)


def test_fails_once_when_told_to(tmp_path):
    store = FakeCertStore(tmp_path)
    store.fail_next("put", StorageError("full"))
    with pytest.raises(StorageError, match="full"):
        store.put(ONE, "a.pem", b"key")
    assert os.listdir(tmp_path) == []
    store.put(ONE, "a.pem", b"key")
    assert store.calls == [("put", ONE), ("put", ONE)]


def test_cannot_be_told_to_fail_in_an_unknown_method(tmp_path):
    with pytest.raises(ValueError, match="explode"):
        FakeCertStore(tmp_path).fail_next("explode", StorageError("x"))
