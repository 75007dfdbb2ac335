# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: D102
"""The contract of certificate stores, as tests to inherit.

Give a fixture ``store`` that returns a new, empty store; pytest does the rest.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading

import pytest

from amphora.drivers.cert_store.base import CertStore
from amphora.errors import StorageError

ONE = "11111111-1111-4111-8111-111111111111"
OTHER = "22222222-2222-4222-8222-222222222222"


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


class CertStoreContract:
    """What every store must do. Names of the tests say what is promised."""

    def test_it_is_available_where_its_tests_run(self, store: CertStore) -> None:
        store.check_available()
        store.check_available()

    def test_what_is_stored_has_the_digest_of_its_bytes(self, store: CertStore) -> None:
        store.put(ONE, "a.pem", b"first")
        assert store.digest(ONE, "a.pem") == _md5(b"first")

    def test_haproxy_finds_the_file_under_its_name(self, store: CertStore) -> None:
        store.put(ONE, "a.pem", b"first")
        assert (store.directory(ONE) / "a.pem").read_bytes() == b"first"

    def test_only_the_owner_can_read_it(self, store: CertStore) -> None:
        store.put(ONE, "a.pem", b"first")
        assert stat.S_IMODE((store.directory(ONE) / "a.pem").stat().st_mode) == 0o600
        assert stat.S_IMODE(store.directory(ONE).stat().st_mode) == 0o700

    def test_a_second_put_replaces_the_first(self, store: CertStore) -> None:
        store.put(ONE, "a.pem", b"first, and longer")
        store.put(ONE, "a.pem", b"second")
        assert store.digest(ONE, "a.pem") == _md5(b"second")

    def test_a_reader_never_sees_half_a_file(self, store: CertStore) -> None:
        versions = [bytes([65 + number]) * 200_000 for number in range(2)]
        store.put(ONE, "a.pem", versions[0])
        ended = threading.Event()

        def write() -> None:
            for number in range(40):
                store.put(ONE, "a.pem", versions[number % 2])
            ended.set()

        writer = threading.Thread(target=write)
        writer.start()
        digests = set()
        while not ended.is_set():
            digests.add(store.digest(ONE, "a.pem"))
        writer.join()
        assert digests <= {_md5(version) for version in versions}

    def test_there_is_no_digest_of_what_is_not_there(self, store: CertStore) -> None:
        assert store.digest(ONE, "a.pem") is None
        store.put(ONE, "a.pem", b"first")
        assert store.digest(ONE, "b.pem") is None
        assert store.digest(OTHER, "a.pem") is None

    def test_delete_tells_whether_it_was_there_and_may_be_repeated(self, store: CertStore) -> None:
        store.put(ONE, "a.pem", b"first")
        assert store.delete(ONE, "a.pem") is True
        assert store.delete(ONE, "a.pem") is False
        assert store.digest(ONE, "a.pem") is None

    def test_an_empty_directory_is_cleaned_up(self, store: CertStore) -> None:
        store.put(ONE, "a.pem", b"first")
        store.put(ONE, "b.pem", b"second")
        store.delete(ONE, "a.pem")
        assert store.directory(ONE).is_dir()
        store.delete(ONE, "b.pem")
        assert not store.directory(ONE).exists()

    def test_delete_all_leaves_other_instances_alone(self, store: CertStore) -> None:
        for instance in (ONE, OTHER):
            store.put(instance, "a.pem", b"first")
            store.put(instance, "b.pem", b"second")
        store.delete_all(ONE)
        store.delete_all(ONE)
        assert not store.directory(ONE).exists()
        assert store.digest(OTHER, "b.pem") == _md5(b"second")

    @pytest.mark.parametrize("name", ["../a.pem", "/etc/a.pem", "..", ".", "", "a/b.pem", "a\0.pem"])
    def test_no_name_leaves_the_directory(self, store: CertStore, name: str) -> None:
        with pytest.raises(StorageError):
            store.put(ONE, name, b"first")
        with pytest.raises(StorageError):
            store.put(name, "a.pem", b"first")

    def test_nothing_but_the_files_is_left_behind(self, store: CertStore) -> None:
        for _ in range(5):
            store.put(ONE, "a.pem", b"first")
        assert os.listdir(store.directory(ONE)) == ["a.pem"]

    def test_recovery_keeps_what_is_stored_and_may_be_repeated(self, store: CertStore) -> None:
        store.put(ONE, "a.pem", b"first")
        store.recover()
        store.recover()
        assert store.digest(ONE, "a.pem") == _md5(b"first")
