# SPDX-License-Identifier: Apache-2.0
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.core.network.packet_filter import AllowRule, RuleProtocol, parse_rules, render_packet_filter
from amphora.errors import AmphoraError, InvalidInput, RulesFailed

GOLDEN = Path(__file__).with_name("golden")

EVERY_KIND = [
    {"protocol": "TCP", "cidr": None, "port": 443},
    {"protocol": "UDP", "cidr": "0.0.0.0/0", "port": 53},
    {"protocol": "SCTP", "cidr": "192.0.2.9/24", "port": 9},
    {"protocol": "TCP", "cidr": "2001:DB8::/32", "port": 80.0},
    {"protocol": "TCP", "cidr": "::/0", "port": 81},
    {"protocol": "vrrp", "cidr": "203.0.113.5/32", "port": 112},
    {"protocol": "vrrp", "cidr": "2001:db8::5/128", "port": 112},
    {"protocol": "vrrp", "cidr": None, "port": 112},
    {"protocol": "TCP", "cidr": None, "port": 443},
]

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NETWORKS = st.ip_addresses().flatmap(
    lambda ip: st.integers(0, ip.max_prefixlen).map(lambda n: ip_network((ip, n), strict=False))
)


@pytest.mark.parametrize(("name", "document"), [("base", []), ("every-kind", EVERY_KIND)])
def test_the_file_for_nft(name, document):
    text = render_packet_filter("eth1", parse_rules(document))
    assert text == (GOLDEN / f"{name}.nft").read_text()


@given(st.sampled_from(RuleProtocol), st.none() | NETWORKS, st.integers(1, 65535))
def test_what_a_controller_writes_is_read(protocol, source, port):
    cidr = None if source is None else str(source)
    (rule,) = parse_rules([{"protocol": protocol.value, "cidr": cidr, "port": port}])
    assert rule == AllowRule(protocol, None if cidr == "0.0.0.0/0" else source, port)


def test_networks_in_networks_that_nft_could_not_merge():
    sources = ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32", "192.0.2.0/24"]
    rules = parse_rules([{"protocol": "TCP", "cidr": cidr, "port": 80} for cidr in sources])
    text = render_packet_filter("eth1", rules)
    assert [line.split()[2] for line in text.splitlines() if "dport 80" in line] == [
        "10.0.0.0/8",
        "192.0.2.0/24",
    ]
    everybody = parse_rules([{"protocol": "TCP", "cidr": None, "port": 80}])
    assert render_packet_filter("eth1", [*rules, *everybody]).count("dport 80") == 1


@given(JSON)
def test_whatever_else_is_sent_is_refused_or_has_no_rule(document):
    try:
        rules = parse_rules(document)
    except AmphoraError:
        assert document != []
    else:
        assert (rules, document) == ((), [])


@pytest.mark.parametrize(
    "change",
    [
        {"protocol": "tcp"},
        {"protocol": "VRRP"},
        {"protocol": []},
        {"port": 0},
        {"port": 65536},
        {"port": True},
        {"port": "80"},
        {"port": 80.5},
        {"cidr": 7},
        {"more": 1},
    ],
)
def test_a_rule_of_another_form(change):
    with pytest.raises(InvalidInput):
        parse_rules([EVERY_KIND[0] | change])


def test_a_rule_without_all_keys():
    for key in EVERY_KIND[0]:
        with pytest.raises(InvalidInput):
            parse_rules([{name: value for name, value in EVERY_KIND[0].items() if name != key}])


@pytest.mark.parametrize("cidr", ["", "x", "203.0.113.5/33", "fe80::1%eth1/128", "10.0.0.1 ; drop"])
def test_a_source_that_is_no_network(cidr):
    with pytest.raises(RulesFailed):
        parse_rules([EVERY_KIND[0] | {"cidr": cidr}])
