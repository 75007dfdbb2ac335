# SPDX-License-Identifier: Apache-2.0
import os
import stat

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from amphora.errors import StorageError
from amphora.system import files


def test_write_makes_a_file_with_the_mode_asked_for(tmp_path):
    path = tmp_path / "file"
    os.umask(os.umask(0o077))
    files.write_atomically(path, b"new", 0o644)
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_write_changes_the_mode_of_a_former_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o666)
    files.write_atomically(path, b"new", 0o600)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_failed_write_keeps_the_old_version_and_leaves_nothing(tmp_path):
    path = tmp_path / "directory"
    path.mkdir()
    (path / "inside").touch()
    with pytest.raises(StorageError, match="could not be written"):
        files.write_atomically(path, b"new")
    assert os.listdir(tmp_path) == ["directory"]


def test_write_into_a_missing_directory_names_the_file(tmp_path):
    with pytest.raises(StorageError, match="missing/file"):
        files.write_atomically(tmp_path / "missing" / "file", b"")


@given(data=st.binary(max_size=4096))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_is_read(tmp_path, data):
    files.write_atomically(tmp_path / "file", data)
    assert files.read_if_present(tmp_path / "file") == data


def test_reading_a_missing_file_gives_none(tmp_path):
    assert files.read_if_present(tmp_path / "none") is None


def test_reading_a_directory_is_an_error_not_none(tmp_path):
    with pytest.raises(StorageError):
        files.read_if_present(tmp_path)


def test_remove_tells_whether_it_was_there(tmp_path):
    (tmp_path / "file").touch()
    assert files.remove(tmp_path / "file") is True
    assert files.remove(tmp_path / "file") is False


def test_remove_tree_may_be_repeated(tmp_path):
    (tmp_path / "tree" / "deep").mkdir(parents=True)
    (tmp_path / "tree" / "deep" / "file").touch()
    assert files.remove_tree(tmp_path / "tree") is True
    assert files.remove_tree(tmp_path / "tree") is False
    assert os.listdir(tmp_path) == []


def test_rename_replaces_the_target(tmp_path):
    (tmp_path / "new").write_bytes(b"new")
    (tmp_path / "live").write_bytes(b"old")
    files.rename(tmp_path / "new", tmp_path / "live")
    assert (tmp_path / "live").read_bytes() == b"new"
    assert not (tmp_path / "new").exists()


def test_rename_of_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(StorageError, match="could not be renamed"):
        files.rename(tmp_path / "none", tmp_path / "live")


def test_sweep_removes_temporaries_and_nothing_else(tmp_path, monkeypatch):
    (tmp_path / "keep").touch()
    # A write that dies before its rename leaves its temporary file; nothing may clean up after it.
    monkeypatch.setattr(files.os, "rename", _die)
    monkeypatch.setattr(files.os, "unlink", _die)
    with pytest.raises(KeyboardInterrupt):
        files.write_atomically(tmp_path / "file", b"x")
    monkeypatch.undo()
    assert len(os.listdir(tmp_path)) == 2
    assert len(files.sweep_temporaries(tmp_path)) == 1
    assert os.listdir(tmp_path) == ["keep"]


def _die(*_args):
    raise KeyboardInterrupt


def test_sweep_of_a_missing_directory_finds_nothing(tmp_path):
    assert files.sweep_temporaries(tmp_path / "none") == []


def test_ensure_directory_makes_parents_and_keeps_modes(tmp_path):
    files.ensure_directory(tmp_path / "a" / "b", 0o700)
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
    files.ensure_directory(tmp_path / "a" / "b", 0o755)
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700


def test_ensure_directory_over_a_file_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        files.ensure_directory(tmp_path / "file" / "below")


def test_listing_separates_files_from_directories(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "a").mkdir()
    (tmp_path / "c").touch()
    assert files.subdirectories(tmp_path) == ["a", "b"]
    assert files.is_empty_directory(tmp_path / "a")
    assert not files.is_empty_directory(tmp_path)
    assert not files.is_empty_directory(tmp_path / "c")


def test_a_directory_that_takes_sockets_is_left_as_it_was(memory_dir):
    (memory_dir / ".amphora-tmp-s").touch()
    files.require_room_for_sockets(memory_dir)
    assert list(memory_dir.iterdir()) == []


def test_a_directory_that_takes_no_sockets_is_told(memory_dir):
    with pytest.raises(StorageError, match="no socket can be bound in"):
        files.require_room_for_sockets(memory_dir / "missing")
