# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.haproxy.reading.servers import Server, ServerDefaults, parse_server, parse_template


@pytest.mark.parametrize(
    ("parameters", "checked", "disabled"),
    [
        ("", False, False),
        ("weight 1 check inter 5s", True, False),
        ("check no-check", False, False),
        ("track b/s", True, False),
        ("agent-check agent-port 80", True, False),
        ("cookie check sni disabled", False, False),
        ("check disabled", True, True),
        ("disabled enabled", False, False),
    ],
)
def test_parameters(parameters, checked, disabled):
    words = f"server s 10.0.0.1:80 {parameters}".split()
    assert parse_server(3, words, ServerDefaults()) == Server("s", 3, checked, disabled)


def test_defaults_hold_until_a_server_says_otherwise():
    defaults = ServerDefaults().apply(["check", "disabled"])
    assert parse_server(1, ["server", "s", "a:1"], defaults) == Server("s", 1, True, True)
    assert parse_server(1, ["server", "s", "a:1", "no-check", "enabled"], defaults) == Server("s", 1)


def test_a_server_without_a_name_is_none():
    assert parse_server(1, ["server"], ServerDefaults()) is None


@pytest.mark.parametrize(
    ("numbers", "names"),
    [("3", ["s1", "s2", "s3"]), ("2-3", ["s2", "s3"]), ("3-2", []), ("x", []), ("1-", []), ("99999999", [])],
)
def test_templates_stand_for_several_servers(numbers, names):
    servers = parse_template(1, ["server-template", "s", numbers, "a:1", "check"], ServerDefaults())
    assert [server.name for server in servers] == names
    assert all(server.checked for server in servers)


@given(st.lists(st.text(max_size=6), max_size=5))
def test_odd_lines_never_raise(words):
    server = parse_server(1, ["server", *words], ServerDefaults())
    assert (server is None) == (not words)
    assert len(parse_template(1, ["server-template", *words], ServerDefaults())) <= 10_000
