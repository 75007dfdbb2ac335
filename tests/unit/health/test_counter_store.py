# SPDX-License-Identifier: Apache-2.0
import json
import logging
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.errors import StorageError
from amphora.health.counter_deltas import CounterStore, Entry, decode, encode
from amphora.health.readings import Counters

counters = st.builds(Counters, *[st.integers(0, 2**70)] * 4)
entries = st.dictionaries(st.text(), st.builds(Entry, counters, st.text(), st.text(), counters))


@given(entries)
def test_what_is_kept_is_read_back(kept):
    assert decode(encode(kept)) == kept


@given(st.one_of(st.binary(), st.recursive(st.none() | st.integers() | st.text(), lambda inner: (
    st.lists(inner) | st.dictionaries(st.sampled_from(["bin", "bout", "ereq", "stot", "owed", "x"]), inner)
)).map(lambda value: json.dumps(value).encode())))  # fmt: skip
def test_any_content_is_read_or_refused(data):
    try:
        read = decode(data)
    except ValueError:
        return
    assert all(entry.seen.received >= 0 for entry in read.values())


def test_the_form_is_that_of_octavias_agent(tmp_path):
    path = tmp_path / "stats_counters.json"
    path.write_text('{"L": {"bin": 1, "bout": 2, "ereq": 3, "stot": 4}, "bad": {"bin": -1}, "odd": 7}')
    store = CounterStore(path)
    read = store.load()
    assert read == {"L": Entry(Counters(1, 2, 4, 3))}
    store.save(read)
    assert json.loads(path.read_text()) == {"L": {"bin": 1, "bout": 2, "ereq": 3, "stot": 4}}
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_it_is_written_only_when_something_is_new(tmp_path):
    path = tmp_path / "counters"
    store = CounterStore(path)
    store.save({})
    assert not path.exists()
    store.save({"L": Entry(Counters(1))})
    first = path.stat().st_ino
    store.save({"L": Entry(Counters(1))})
    assert path.stat().st_ino == first
    store.save({"L": Entry(Counters(2), unsent=Counters(1))})
    assert path.stat().st_ino != first
    assert CounterStore(path).load() == {"L": Entry(Counters(2), unsent=Counters(1))}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"[" * 100000])
def test_a_corrupt_file_begins_anew_and_is_logged(tmp_path, caplog, content):
    path = tmp_path / "counters"
    path.write_bytes(content)
    with caplog.at_level(logging.ERROR):
        assert CounterStore(path).load() == {}
    assert "statistics start from zero" in caplog.text


def test_a_file_that_cannot_be_read_begins_anew(tmp_path, caplog):
    assert CounterStore(tmp_path).load() == {}
    assert "statistics start from zero" in caplog.text
    with pytest.raises(StorageError):
        CounterStore(tmp_path / "no" / "such").save({"L": Entry(Counters())})
