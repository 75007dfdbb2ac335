# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: D102
"""The contract of certificate stores as tests, for authors of drivers.

Inherit :class:`amphora.testing.suites.CertStoreSuite` and say how to build the driver. The class here
asks for a fixture ``store`` instead.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import threading

import pytest

from amphora.drivers.cert_store.base import CertStore
from amphora.errors import StorageError
from amphora.system.mounts import outside_memory
from amphora.testing.conditions import descriptors_left, full_disk, open_descriptors

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

    @pytest.mark.parametrize(
        "data",
        [b"", b"\n", b"a\r\nb\n\n", b" \0\xff\xfe"],
        ids=["none", "newline", "foreign-newlines", "binary"],
    )
    def test_bytes_are_stored_as_they_came(self, store: CertStore, data: bytes) -> None:
        store.put(ONE, "a.pem", data)
        assert (store.directory(ONE) / "a.pem").read_bytes() == data
        assert store.digest(ONE, "a.pem") == _md5(data), "digest() is not the MD5 of the bytes put"

    def test_keys_are_kept_in_memory(self, store: CertStore) -> None:
        store.put(ONE, "a.pem", b"first")
        disk = outside_memory(store.directory(ONE) / "a.pem")
        assert disk is None, f"private keys are written to {disk}, which is on a disk"

    def test_haproxy_finds_the_file_under_its_name(self, store: CertStore) -> None:
        store.put(ONE, "a.pem", b"first")
        assert (store.directory(ONE) / "a.pem").read_bytes() == b"first"

    @pytest.mark.parametrize("umask", [0o000, 0o022, 0o277], ids=["umask-000", "umask-022", "umask-277"])
    def test_only_the_owner_can_read_it(self, store: CertStore, umask: int) -> None:
        former = os.umask(umask)
        try:
            store.put(ONE, "a.pem", b"first")
        finally:
            os.umask(former)
        for path, wanted in ((store.directory(ONE), 0o700), (store.directory(ONE) / "a.pem", 0o600)):
            mode = stat.S_IMODE(path.stat().st_mode)
            assert mode == wanted, f"{path.name} has mode {mode:04o}, not {wanted:04o}"

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

    def test_full_disk_leaves_the_former_file(self, store: CertStore) -> None:
        store.put(ONE, "a.pem", b"former")
        wanted = b"former"
        with contextlib.suppress(StorageError), full_disk():
            store.put(ONE, "a.pem", b"changed")
            wanted = b"changed"
        found = (store.directory(ONE) / "a.pem").read_bytes()
        assert found == wanted, f"a put() that failed left {found!r} of the former file"
        assert os.listdir(store.directory(ONE)) == ["a.pem"]

    def test_there_is_no_digest_of_what_is_not_there(self, store: CertStore) -> None:
        assert store.digest(ONE, "a.pem") is None
        store.put(ONE, "a.pem", b"first")
        assert store.digest(ONE, "b.pem") is None
        assert store.digest(OTHER, "a.pem") is None

    def test_delete_tells_whether_it_was_there_and_may_be_repeated(self, store: CertStore) -> None:
        store.put(ONE, "a.pem", b"first")
        assert store.delete(ONE, "a.pem") is True, "delete() of a file that was there says it was not"
        assert store.delete(ONE, "a.pem") is False, "delete() of a file that was not there says it was"
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
        left = store.digest(OTHER, "b.pem")
        assert left == _md5(b"second"), "delete_all() of one instance changed the files of another"

    @pytest.mark.parametrize(
        "name",
        ["../a.pem", "/etc/a.pem", "..", ".", "", "a/b.pem", "a\0.pem"],
        ids=["parent", "absolute", "dots", "dot", "empty", "below", "nul"],
    )
    def test_no_name_leaves_the_directory(self, store: CertStore, name: str) -> None:
        with pytest.raises(StorageError):
            store.put(ONE, name, b"first")
        with pytest.raises(StorageError):
            store.put(name, "a.pem", b"first")

    def test_nothing_but_the_files_is_left_behind(self, store: CertStore) -> None:
        for _ in range(5):
            store.put(ONE, "a.pem", b"first")
        assert os.listdir(store.directory(ONE)) == ["a.pem"]

    def test_no_descriptor_stays_open(self, store: CertStore) -> None:
        store.put(ONE, "a.pem", b"first")
        before = open_descriptors()
        for _ in range(5):
            store.put(ONE, "a.pem", b"first")
            store.digest(ONE, "a.pem")
            store.delete(ONE, "a.pem")
        assert not descriptors_left(before), descriptors_left(before)

    def test_recovery_keeps_what_is_stored_and_may_be_repeated(self, store: CertStore) -> None:
        store.put(ONE, "a.pem", b"first")
        store.recover()
        store.recover()
        assert store.digest(ONE, "a.pem") == _md5(b"first")
