# SPDX-License-Identifier: Apache-2.0
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.core.drift.file_baseline import FileBaseline
from amphora.system import files

ONE = "one"


class Place:
    def __init__(self, directory):
        self.directory = directory / ONE
        self.directory.mkdir()
        self.ledger = FileBaseline(lambda name: (directory / name,))
        self.path = self.directory / "a"
        self.change(lambda: files.write_atomically(self.path, b"ours"))

    def change(self, what):
        self.ledger.begins(ONE)
        what()
        self.ledger.ends(ONE)

    def modified_externally(self):
        return self.ledger.modified_externally(ONE, self.path)


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def test_what_the_agent_wrote_is_its_own(place):
    assert not place.modified_externally()
    place.change(lambda: files.write_atomically(place.path, b"ours again"))
    assert not place.modified_externally()


def test_what_somebody_else_wrote_in_place_or_replaced_is_strange(place):
    place.path.write_bytes(b"thEirs")
    assert place.modified_externally()
    place.change(lambda: files.write_atomically(place.path, b"ours again"))
    assert not place.modified_externally()
    files.write_atomically(place.path, b"theirs")
    assert place.modified_externally()


def test_times_that_are_put_back_hide_nothing(place):
    status = place.path.stat()
    place.path.write_bytes(b"urso")
    os.utime(place.path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert place.modified_externally()


def test_another_mode_or_time_alone_is_not_strange(place):
    place.path.chmod(0o640)
    os.utime(place.path, (1, 1))
    assert not place.modified_externally()


def test_removed_and_added_files_are_strange(place):
    other = place.directory / "b"
    other.write_bytes(b"theirs")
    assert place.ledger.modified_externally(ONE, other)
    place.path.unlink()
    assert place.modified_externally()
    assert place.ledger.removed(ONE) == [place.path]


def test_what_is_no_file_any_more_counts_as_removed(place):
    place.path.unlink()
    place.path.mkdir()
    assert place.ledger.removed(ONE) == [place.path]
    assert place.modified_externally()


def test_a_change_of_the_agents_makes_nobody_elses_file_its_own(place):
    place.path.write_bytes(b"theirs")
    place.change(lambda: files.write_atomically(place.directory / "b", b"ours"))
    assert place.modified_externally()
    assert not place.ledger.modified_externally(ONE, place.directory / "b")


def test_another_name_for_a_file_leaves_it_as_strange_as_it_was(place):
    place.path.write_bytes(b"theirs")
    place.change(lambda: os.link(place.path, place.directory / "b"))
    assert place.modified_externally()


def test_a_file_that_was_adopted_is_not_strange(place):
    place.path.write_bytes(b"theirs")
    place.ledger.adopt(ONE, place.path)
    assert not place.modified_externally()


def test_of_other_directories_and_unknown_names_nothing_is_known(place, tmp_path):
    (tmp_path / "elsewhere").write_bytes(b"x")
    assert not place.ledger.modified_externally(ONE, tmp_path / "elsewhere")
    assert not place.ledger.modified_externally("two", tmp_path / "two" / "a")


def test_what_is_there_at_first_sight_is_taken_as_it_is(tmp_path):
    ledger = FileBaseline(lambda name: (tmp_path / name,))
    (tmp_path / ONE).mkdir()
    path = tmp_path / ONE / "a"
    path.write_bytes(b"found")
    ledger.note_if_new(ONE)
    path.write_bytes(b"changed")
    ledger.note_if_new(ONE)
    assert ledger.modified_externally(ONE, path)


_STEPS = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from(("ours", "theirs")), st.binary(max_size=3)), max_size=12
)


@given(_STEPS)
def test_a_file_is_strange_if_and_only_if_its_content_is_not_what_the_agent_left(tmp_path_factory, steps):
    directory = tmp_path_factory.mktemp("ledger")
    place = Place(directory)
    left, there = {"a": b"ours"}, {"a": b"ours"}
    for name, who, content in steps:
        path = place.directory / name
        if who == "ours":
            place.change(lambda path=path, content=content: files.write_atomically(path, content))
            left[name] = content
        else:
            path.write_bytes(content)
        there[name] = content
        for each in "ab":
            wanted = left.get(each) != there.get(each)
            assert place.ledger.modified_externally(ONE, place.directory / each) is wanted
