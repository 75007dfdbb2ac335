# SPDX-License-Identifier: Apache-2.0
import socket
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.health.controllers import Controllers, numeric_destination, parse_entry


def ports(controllers, count):
    return [controllers.following().address[1] for _ in range(count)]


def test_they_take_turns_the_first_one_first():
    assert ports(Controllers(["192.0.2.1:1", "192.0.2.2:2", "192.0.2.3:3"]), 7) == [1, 2, 3, 1, 2, 3, 1]
    assert Controllers(()).following() is None


def test_a_bad_entry_is_logged_once_and_does_not_hide_later_ones(caplog):
    controllers = Controllers(["192.0.2.1:1", "192.0.2.2", "[::1]x:5", "192.0.2.3:70000", "192.0.2.4:4"])
    assert ports(controllers, 4) == [1, 4, 1, 4]
    assert len(caplog.records) == 3
    assert "'192.0.2.2' is skipped" in caplog.text


def test_each_family_is_known_by_its_address():
    controllers = Controllers(["[2001:db8::1]:5555", "192.0.2.1:5555", "::1:5555"])
    found = [controllers.following() for _ in range(3)]
    assert [each.family for each in found] == [socket.AF_INET6, socket.AF_INET, socket.AF_INET6]
    assert [each.address[:2] for each in found] == [
        ("2001:db8::1", 5555),
        ("192.0.2.1", 5555),
        ("::1", 5555),
    ]
    assert numeric_destination("fe80::1%lo", 5).address[3] == socket.if_nametoindex("lo")


def test_a_name_is_resolved_aside():
    controllers = Controllers(["localhost:5555"])
    deadline = time.monotonic() + 10
    while (found := controllers.following()) is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert found.address[:2] in {("127.0.0.1", 5555), ("::1", 5555)}


def test_a_name_that_nobody_knows_does_not_hide_others():
    controllers = Controllers(["name.invalid:1", "192.0.2.2:2"])
    assert ports(controllers, 3) == [2, 2, 2]
    controllers.close()


@pytest.mark.parametrize(
    "entry", ["", ":", ":5", "host", "host:", "host:0", "host:65536", "host:５", "a b:1"]
)
def test_what_names_no_host_and_port_is_refused(entry):
    with pytest.raises(ValueError, match="it "):
        parse_entry(entry)


@given(st.text())
def test_any_entry_is_read_or_refused(entry):
    try:
        host, port = parse_entry(entry)
    except ValueError:
        return
    assert host
    assert 0 < port < 65536


@given(st.ip_addresses(), st.integers(1, 65535))
def test_every_address_is_read(address, port):
    text = f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
    assert parse_entry(text) == (str(address), port)
