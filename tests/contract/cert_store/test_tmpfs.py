# SPDX-License-Identifier: Apache-2.0
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from amphora.drivers.cert_store.tmpfs import TmpfsCertStore
from amphora.errors import DriverUnavailable, StorageError
from amphora.testing.cert_store import ONE
from amphora.testing.suites import CertStoreSuite


@pytest.fixture
def base():
    directory = Path(tempfile.mkdtemp(prefix="amp-", dir="/dev/shm"))
    yield directory / "certs"
    shutil.rmtree(directory)


@pytest.fixture
def store(base):
    return TmpfsCertStore(base)


class TestTmpfs(CertStoreSuite):
    def build(self, directory):
        return TmpfsCertStore(directory / "certs")


def test_a_disk_is_refused_at_start_and_at_each_write(tmp_path):
    on_disk = TmpfsCertStore(tmp_path / "certs")
    with pytest.raises(DriverUnavailable, match="only kept in memory: mount a tmpfs"):
        on_disk.check_available()
    with pytest.raises(StorageError, match="lies on"):
        on_disk.put(ONE, "a.pem", b"key")
    assert os.listdir(tmp_path) == []


def test_a_link_to_a_disk_is_refused(base, tmp_path):
    base.parent.joinpath("certs").symlink_to(tmp_path)
    with pytest.raises(StorageError, match="lies on"):
        TmpfsCertStore(base).put(ONE, "a.pem", b"key")


def test_recovery_sweeps_interrupted_writes(store, base):
    store.put(ONE, "a.pem", b"first")
    (base / ONE / ".amphora-tmp-00").write_bytes(b"half a key")
    (base / ".amphora-tmp-01").mkdir()
    store.recover()
    assert sorted(path.name for path in base.rglob("*")) == [ONE, "a.pem"]
