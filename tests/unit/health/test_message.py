# SPDX-License-Identifier: Apache-2.0
import json
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.health.message import LARGEST_DATAGRAM, Report, encode, encode_within, make_report
from amphora.health.readings import Counters, ListenerReading, PoolReading, ProcessReading
from tests.support.heartbeats import AMPHORA_ID, KEY, opened

L1, L2 = "11111111-1111-4111-8111-111111111111", "44444444-4444-4444-8444-444444444444"
P1, P2 = "22222222-2222-4222-8222-222222222222", "55555555-5555-4555-8555-555555555555"
M1, M2 = "33333333-3333-4333-8333-333333333331", "33333333-3333-4333-8333-333333333332"
M3, M4, M5 = (f"66666666-6666-4666-8666-66666666666{number}" for number in (1, 2, 3))

SMALL = (
    Report(
        {L1: ListenerReading(L1, "OPEN", 2, Counters(309, 3837, 3, 0))},
        {f"{P1}:{L1}": PoolReading(f"{P1}:{L1}", "UP", {M1: "UP", M2: "no check"})},
    ),
    f"""{{"id": "{AMPHORA_ID}", "seq": 67, "ver": 3,
    "listeners": {{"{L1}": {{"status": "OPEN",
        "stats": {{"tx": 3837, "rx": 309, "conns": 2, "totconns": 3, "ereq": 0}}}}}},
    "pools": {{"{P1}:{L1}": {{"status": "UP", "members": {{"{M1}": "UP", "{M2}": "no check"}}}}}}}}""",
)
LARGE = (
    Report(
        {
            L1: ListenerReading(L1, "FULL", 50000, Counters(1, 5_000_000_000, 0, 7)),
            L2: ListenerReading(L2, "OPEN", 0, Counters(240, 120, 4, 0)),
        },
        {
            f"{P1}:{L1}": PoolReading(f"{P1}:{L1}", "DOWN", {M1: "DOWN 1/2", M2: "MAINT"}),
            P2: PoolReading(P2, "UP", {M3: "DRAIN", M4: "RESTARTING", M5: "UP"}),
        },
    ),
    f"""{{"id": "{AMPHORA_ID}", "seq": 4294967296, "ver": 3,
    "listeners": {{"{L1}": {{"status": "FULL",
        "stats": {{"tx": 5000000000, "rx": 1, "conns": 50000, "totconns": 0, "ereq": 7}}}},
      "{L2}": {{"status": "OPEN", "stats": {{"tx": 120, "rx": 240, "conns": 0, "totconns": 4, "ereq": 0}}}}}},
    "pools": {{"{P1}:{L1}": {{"status": "DOWN", "members": {{"{M1}": "DOWN 1/2", "{M2}": "MAINT"}}}},
      "{P2}": {{"status": "UP", "members": {{"{M3}": "DRAIN", "{M4}": "RESTARTING", "{M5}": "UP"}}}}}}}}""",
)
EMPTY = (
    Report({}, {}),
    f'{{"id": "{AMPHORA_ID}", "seq": 0, "listeners": {{}}, "pools": {{}}, "ver": 3}}',
)


@pytest.mark.parametrize(
    ("case", "sequence", "key"),
    [(EMPTY, 0, "insecure"), (SMALL, 67, KEY), (LARGE, 4294967296, "clé-секрет-鍵")],
    ids=["empty", "small", "large numbers and a key beyond ASCII"],
)
def test_golden_messages(case, sequence, key):
    report, golden = case
    datagram = encode(AMPHORA_ID, sequence, report, key)
    assert opened(datagram, key) == json.loads(golden)
    assert datagram[-64:] == datagram[-64:].lower()
    with pytest.raises(ValueError, match="tag"):
        opened(datagram, key + "x")


VECTOR = (
    "78daab56ca4c51b252503280025d306102222c605c284854d251502a4e2d042a3700b272328b4b52f3528b8a81fcea5aa04041"
    "7e7e0e9c53965a04641ad702002b431830353765653133333661363461666566653533646230303233643966633666663863"
    "33626434636166656134623564653831383433336630326632343230343032"
)


def test_a_datagram_known_to_be_accepted_is_opened_by_this_suites_own_receiver():
    assert opened(bytes.fromhex(VECTOR), "insecure") == json.loads(EMPTY[1])


names = st.text(max_size=40)
numbers = st.integers(0, 2**64)
readings = st.builds(
    ListenerReading, names, names, numbers, st.builds(Counters, numbers, numbers, numbers, numbers)
)
pool_readings = st.builds(PoolReading, names, names, st.dictionaries(names, names, max_size=5))


@given(names, numbers, st.lists(readings, max_size=5), st.lists(pool_readings, max_size=5), names)
def test_whatever_is_told_arrives(amphora_id, sequence, listeners, pools, key):
    report = Report({each.id: each for each in listeners}, {each.key: each for each in pools})
    message = opened(encode(amphora_id, sequence, report, key), key)
    assert (message["id"], message["seq"], message["ver"]) == (amphora_id, sequence, 3)
    assert {name: each["stats"]["tx"] for name, each in message["listeners"].items()} == {
        name: each.counters.sent for name, each in report.listeners.items()
    }
    assert {name: each["members"] for name, each in message["pools"].items()} == {
        name: each.members for name, each in report.pools.items()
    }


def ids(count):
    return [str(uuid.uuid4()) for _ in range(count)]


def crowded(listeners, pools, members):
    """Every listener of one load balancer with every pool of it."""
    names, pool_members = ids(listeners), {pool: ids(members) for pool in ids(pools)}
    return Report(
        {name: ListenerReading(name, "OPEN", 1, Counters(1, 2, 3, 4)) for name in names},
        {
            f"{pool}:{name}": PoolReading(f"{pool}:{name}", "UP", dict.fromkeys(pool_members[pool], "UP"))
            for pool in pool_members
            for name in names
        },
    )


def test_an_oversize_message_first_drops_pools_that_receivers_count_once_anyway():
    report = crowded(listeners=40, pools=40, members=2)
    assert len(encode(AMPHORA_ID, 1, report, KEY)) > 10000
    datagram, left_out = encode_within(10000, AMPHORA_ID, 1, report, KEY)
    message = opened(datagram)
    assert left_out == "repeated pools"
    assert len({key.rpartition(":")[0] for key in message["pools"]}) == len(message["pools"]) == 40
    assert len(message["listeners"]) == 40
    assert all(len(pool["members"]) == 2 for pool in message["pools"].values())


def test_an_oversize_message_then_drops_the_members_of_the_largest_pools():
    small, large = crowded(1, 5, 3), crowded(1, 2, 2500)
    report = Report(small.listeners | large.listeners, small.pools | large.pools)
    datagram, left_out = encode_within(LARGEST_DATAGRAM, AMPHORA_ID, 1, report, KEY)
    message = opened(datagram)
    assert len(datagram) <= LARGEST_DATAGRAM
    assert left_out == "the members of the largest pools"
    assert len(message["listeners"]) == 2
    assert sorted(len(pool["members"]) for pool in message["pools"].values()) == [0, 0, 3, 3, 3, 3, 3]


def test_a_message_without_any_member_may_still_be_too_large():
    assert encode_within(500, AMPHORA_ID, 1, crowded(20, 1, 1), KEY) == (None, "everything")


def process(listeners=(), pools=(), replaced=False):
    return ProcessReading("lb", "g1", tuple(listeners), tuple(pools), replaced)


def test_a_replaced_worker_still_has_connections_but_no_listeners():
    old = process([ListenerReading(L1, "STOP", 3, Counters()), ListenerReading(L2, "STOP", 1, Counters())])
    new = process([ListenerReading(L1, "OPEN", 2, Counters())], [PoolReading(P1, "UP", {})])
    old = ProcessReading("lb", "g0", old.listeners, (PoolReading(P2, "DOWN", {}),), replaced=True)
    report = make_report([old, new], lambda _listener: Counters(1, 2, 3, 4))
    assert report.listeners == {L1: ListenerReading(L1, "OPEN", 5, Counters(1, 2, 3, 4))}
    assert set(report.pools) == {P1}


def test_states_are_those_that_controllers_tell_apart():
    def states(member, active=0):
        listeners = [ListenerReading(L1, "OPEN", active, Counters())]
        pools = [PoolReading(P1, "UP", {M1: member})]
        return make_report([process(listeners, pools)], lambda _: Counters()).states()

    assert states("UP") == states("UP 1/3") == states("UP 2/3", active=5)
    assert len({states(word) for word in ("UP", "DOWN 1/2", "DRAIN", "MAINT", "no check")}) == 5
