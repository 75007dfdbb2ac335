# SPDX-License-Identifier: Apache-2.0
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from amphora.server.admission import Quota

SOURCES = st.sampled_from(["192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1"])


def test_source_at_its_bound_loses_its_own_oldest() -> None:
    quota: Quota[str] = Quota(limit=10, limit_per_source=2)
    quota.admit("other", "192.0.2.9")
    quota.admit("first", "192.0.2.1")
    quota.admit("second", "192.0.2.1")

    assert quota.admit("third", "192.0.2.1") == "first"
    assert quota.members() == ["other", "second", "third"]


def test_full_quota_takes_from_the_source_that_holds_most() -> None:
    quota: Quota[str] = Quota(limit=3, limit_per_source=3)
    quota.admit("controller 1", "192.0.2.9")
    quota.admit("flood 1", "192.0.2.1")
    quota.admit("flood 2", "192.0.2.1")

    assert quota.admit("controller 2", "192.0.2.8") == "flood 1"


def test_among_equal_sources_the_oldest_goes() -> None:
    quota: Quota[str] = Quota(limit=2, limit_per_source=2)
    quota.admit("old", "192.0.2.1")
    quota.admit("young", "192.0.2.2")

    assert quota.admit("newcomer", "192.0.2.3") == "old"


def test_discard_may_be_repeated() -> None:
    quota: Quota[str] = Quota(limit=2, limit_per_source=2)
    quota.admit("one", "192.0.2.1")
    quota.discard("one")
    quota.discard("one")

    assert len(quota) == 0
    assert quota.count("192.0.2.1") == 0
    assert quota.candidate() is None


@given(st.integers(1, 8), st.integers(1, 8), st.lists(SOURCES, max_size=60))
def test_bounds_hold_and_the_newcomer_stays(limit: int, per_source: int, arrivals: list[str]) -> None:
    quota: Quota[int] = Quota(limit, per_source)
    present: dict[int, str] = {}
    for number, source in enumerate(arrivals):
        evicted = quota.admit(number, source)
        present[number] = source
        held = Counter(present.values())
        if evicted is not None:
            gone = present.pop(evicted)
            assert evicted != number
            assert gone == source or held[gone] == max(held.values())
            assert all(other > evicted for other, its in present.items() if its == gone)
        assert quota.members() == sorted(present)
        assert len(present) <= limit
        assert max(Counter(present.values()).values()) <= per_source


@given(st.lists(st.tuples(SOURCES, st.booleans()), max_size=60))
def test_discarded_members_leave_no_trace(steps: list[tuple[str, bool]]) -> None:
    quota: Quota[int] = Quota(100, 100)
    for number, (source, stays) in enumerate(steps):
        quota.admit(number, source)
        if not stays:
            quota.discard(number)
    expected = [number for number, (_, stays) in enumerate(steps) if stays]

    assert quota.members() == expected
    assert sum(quota.count(source) for source in {source for source, _ in steps}) == len(expected)
    assert (quota.candidate() in expected) if expected else (quota.candidate() is None)
