# SPDX-License-Identifier: Apache-2.0

import pytest

from amphora.drivers.process_manager.records import ServiceRecord
from amphora.drivers.process_manager.standalone import RecordStore
from amphora.errors import ServiceError
from amphora.models import ServiceSpec
from amphora.system.processes import ProcessIdentity

SPEC = ServiceSpec("web", "A service", ("/bin/web",))
RECORD = ServiceRecord(SPEC, True, ProcessIdentity(12, 345))


@pytest.fixture
def store(tmp_path):
    return RecordStore(tmp_path / "state", "boot-1")


def test_record_is_known_again(store):
    store.save(RECORD)
    assert store.load("web") == RECORD
    assert store.names() == ["web"]


def test_nothing_is_known_of_an_unknown_service(store):
    assert store.load("web") is None
    assert store.names() == []
    store.sweep()


def test_process_of_another_boot_is_forgotten(store, tmp_path):
    store.save(RECORD)
    assert RecordStore(tmp_path / "state", "boot-2").load("web") == ServiceRecord(SPEC, True, None)


def test_deleted_record_is_unknown(store):
    store.save(RECORD)
    for _ in range(2):
        store.delete("web")
        assert store.load("web") is None


def test_directory_and_records_are_private(store, tmp_path):
    store.save(RECORD)
    state = tmp_path / "state"
    assert state.stat().st_mode & 0o777 == 0o700
    assert (state / "web.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("damage", ["", "{", "[]", "{}", '{"process": [1]}'])
def test_damaged_record_is_reported(store, tmp_path, damage):
    store.save(RECORD)
    (tmp_path / "state" / "web.json").write_text(damage)
    with pytest.raises(ServiceError, match="web.*damaged"):
        store.load("web")


def test_interrupted_write_is_swept(store, tmp_path):
    store.save(RECORD)
    leftover = tmp_path / "state" / ".amphora-tmp-0123"
    leftover.write_text("half")
    store.sweep()
    assert not leftover.exists()
    assert store.names() == ["web"]


def test_what_is_no_directory_is_reported(tmp_path):
    (tmp_path / "state").write_text("")
    store = RecordStore(tmp_path / "state", "boot-1")
    with pytest.raises(ServiceError):
        store.save(RECORD)
