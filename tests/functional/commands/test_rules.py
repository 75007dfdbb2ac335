# SPDX-License-Identifier: Apache-2.0
"""Packet filter and address translation by a real kernel."""

import socket

import pytest

from amphora.core.changes.journal import Journal, OperationState
from amphora.core.changes.locks import INTERFACES, InstanceLocks
from amphora.core.changes.operations import Operations
from amphora.core.drift.network import RulesInspector
from amphora.core.network.interface_rules import TARGET, InterfaceRules
from amphora.core.network.masquerade import IPFamily, Masquerade
from amphora.core.network.packet_filter import parse_rules
from amphora.errors import RulesFailed
from amphora.models import DriftReason
from amphora.system.namespaces import call_inside
from amphora.system.nftables import Nftables

CLIENT, VIP = "198.51.100.9", "198.51.100.10"


@pytest.fixture
def amphora(bench):
    """A VIP on eth1, a client beside it, and rules."""
    mac = bench.plug()
    old = bench.links(bench.root)[0]["ifname"]
    bench.ip("-n", bench.root, "link", "set", old, "netns", bench.data, "name", "eth1")
    assert mac
    for namespace, name, address in ((bench.data, "eth1", VIP), (bench.wire, bench.peer_of(), CLIENT)):
        bench.ip("-n", namespace, "addr", "add", f"{address}/24", "dev", name)
        bench.ip("-n", namespace, "link", "set", name, "up")
    bench.nftables = Nftables(bench.runner, bench.data)
    operations = Operations(Journal(bench.directory / "operations"))
    bench.rules = InterfaceRules(bench.directory, bench.nftables, InstanceLocks(), lambda: None, operations)
    return bench


class Listener:
    """Listens in a namespace."""

    def __init__(self, namespace, address, port):
        self.socket = call_inside(namespace, lambda: socket.create_server((address, port)))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


def connects(namespace, address, port):
    def attempt():
        with socket.socket() as connection:
            connection.settimeout(1.0)
            return connection.connect_ex((address, port)) == 0

    return call_inside(namespace, attempt)


def allow(*rules):
    keys = ("protocol", "cidr", "port")
    return parse_rules([dict(zip(keys, rule, strict=True)) for rule in rules])


def test_only_what_rules_allow_comes_in(amphora):
    with Listener(amphora.data, VIP, 80), Listener(amphora.data, VIP, 81):
        assert connects(amphora.wire, VIP, 80)
        amphora.rules.replace("eth1", allow(("TCP", f"{CLIENT}/32", 80), ("TCP", "192.0.2.0/24", 81)))
        assert connects(amphora.wire, VIP, 80)
        assert not connects(amphora.wire, VIP, 81)
        amphora.rules.replace("eth1", ())
        assert not connects(amphora.wire, VIP, 80)


def test_without_any_rule_the_amphora_still_reaches_others_and_itself(amphora):
    amphora.rules.protect("eth1")
    with Listener(amphora.wire, CLIENT, 80), Listener(amphora.data, VIP, 81):
        assert connects(amphora.data, CLIENT, 80)
        assert connects(amphora.data, VIP, 81)
        assert not connects(amphora.wire, VIP, 81)


def test_answers_over_an_interface_whose_tcp_is_not_tracked(amphora):
    amphora.plug()
    old = amphora.links(amphora.root)[0]["ifname"]
    amphora.ip("-n", amphora.root, "link", "set", old, "netns", amphora.data, "name", "eth2")
    for namespace, name, address in (
        (amphora.data, "eth2", "10.9.0.1"),
        (amphora.wire, amphora.peer_of(1), "10.9.0.2"),
    ):
        amphora.ip("-n", namespace, "addr", "add", f"{address}/24", "dev", name)
        amphora.ip("-n", namespace, "link", "set", name, "up")
    Masquerade(Nftables(amphora.runner, amphora.data)).add(IPFamily.V4, "eth2")
    amphora.rules.protect("eth1")
    with Listener(amphora.wire, "10.9.0.2", 80), Listener(amphora.data, "10.9.0.1", 81):
        assert connects(amphora.data, "10.9.0.2", 80), "a member is reached"
        assert not connects(amphora.wire, "10.9.0.1", 81), "and reaches nothing"


def test_vrrp_of_either_family_and_overlapping_networks(amphora):
    rules = allow(
        ("vrrp", "203.0.113.5/32", 112),
        ("vrrp", "2001:db8::5/128", 112),
        ("TCP", "10.0.0.0/8", 80),
        ("TCP", "10.1.0.0/16", 80),
        ("TCP", "2001:db8::/32", 80),
        ("TCP", "2001:db8:1::/48", 80),
    )
    for _ in range(2):
        amphora.rules.replace("eth1", rules)
        listed = amphora.inside("nft", "list", "ruleset")
        assert "ip saddr 203.0.113.5 ip protocol vrrp accept" in listed
        assert "ip6 saddr 2001:db8::5 ip6 nexthdr vrrp accept" in listed
        assert listed.count("chain amphora_vip_chain") == 1


def test_rules_that_nft_refuses_change_nothing(amphora):
    amphora.rules.replace("eth1", allow(("TCP", None, 80)))
    before = amphora.inside("nft", "list", "ruleset"), (amphora.directory / "nftables-vip.rules").read_text()
    with pytest.raises(RulesFailed, match="nft refused"):
        amphora.rules.replace('eth"1', allow(("TCP", None, 81)))
    after = amphora.inside("nft", "list", "ruleset"), (amphora.directory / "nftables-vip.rules").read_text()
    assert after == before


def test_masquerading_of_one_interface_leaves_others_alone(amphora):
    def run(*words):
        return amphora.run("lvs_masquerade", *words, namespace=amphora.data)

    empty = amphora.inside("nft", "list", "ruleset")
    for _ in range(2):
        for words in (("ipv4", "eth1"), ("ipv4", "eth2", "sriov"), ("ipv6", "eth2")):
            assert run("add", *words) == (0, "")
    listed = amphora.inside("nft", "list", "table", "ip", "octavia-ipv4")
    assert listed.count(" masquerade\n") == 1
    assert "eth2" not in listed.partition("set untracked")[2], "TCP by an SR-IOV port is tracked"
    for _ in range(2):
        assert run("delete", "ipv4", "eth1") == (0, "")
    listed = amphora.inside("nft", "list", "ruleset")
    assert "eth1" not in listed
    assert listed.count("eth2") == 3
    assert empty == ""
    assert run("add", "ipv5", "eth1")[0] == run()[0] == run("add", "ipv4", "eth1", "x")[0] == 1
    assert run("add", "ipv4", "a b")[0] == 2


MISCHIEF = (
    ("add rule inet amphora_table amphora_vip_chain tcp dport 81 accept", DriftReason.FILTER_DIFFERS),
    ("add set inet amphora_table extra { type ipv4_addr; }", DriftReason.FILTER_DIFFERS),
    ("add chain inet amphora_table amphora_chain { policy accept; }", DriftReason.FILTER_DIFFERS),
    ("add table inet amphora_table { flags dormant; }", DriftReason.FILTER_DIFFERS),
    ("flush table inet amphora_table", DriftReason.FILTER_DIFFERS),
    ("delete table inet amphora_table", DriftReason.FILTER_MISSING),
    ("add table inet another", None),
)


def test_whatever_is_done_to_the_table_is_told_and_healed(amphora):
    inspector = RulesInspector(amphora.rules)
    amphora.rules.replace("eth1", allow(("TCP", "192.0.2.0/24", 80), ("TCP", "198.51.100.0/24", 81)))
    listed = amphora.inside("nft", "list", "table", "inet", "amphora_table")
    for command, reason in MISCHIEF:
        amphora.runner.run(("nft", command), timeout=20, namespace=amphora.data)
        found = inspector.inspect(INTERFACES)
        assert [each.reason for each in found] == ([reason] if reason else []), command
        if found:
            assert inspector.heal(INTERFACES, found)
        assert inspector.inspect(INTERFACES) == []
        assert amphora.inside("nft", "list", "table", "inet", "amphora_table") == listed


def test_the_same_rules_are_the_same_in_the_kernel_whenever_they_are_loaded(amphora):
    rules = allow(*(("TCP", f"10.{number}.0.0/16", 1000 + number) for number in range(200)))
    contents = set()
    for _ in range(3):
        amphora.rules.replace("eth1", rules)
        contents.add(amphora.rules.in_force())
        amphora.rules.replace("eth1", ())
    assert len(contents) == 1
    assert amphora.rules.in_force() not in contents


def test_a_kernel_that_keeps_the_former_rules_is_no_proof(amphora):
    amphora.rules.replace("eth1", allow(("TCP", None, 80)))
    stored = amphora.rules.path.read_bytes()
    before = amphora.rules.in_force()
    amphora.nftables.load = lambda path: Nftables.load(amphora.nftables, amphora.rules.path)
    with pytest.raises(RulesFailed, match="other rules than those loaded"):
        amphora.rules.replace("eth1", ())
    assert (amphora.rules.path.read_bytes(), amphora.rules.in_force()) == (stored, before)


def test_rules_that_were_in_force_before_they_were_stored_go_with_the_agent_that_was_killed(amphora):
    # As after a kill at the beginning of the step that stores them.
    journal = amphora.directory / "operations" / f"{TARGET}.journal"
    amphora.rules.replace("eth1", allow(("TCP", None, 80)))
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:-1]))
    amphora.rules.path.unlink()
    operations = Operations(Journal(amphora.directory / "operations"))
    operations.recover()
    rules = InterfaceRules(amphora.directory, amphora.nftables, InstanceLocks(), lambda: None, operations)
    rules.recover()
    assert rules.in_force() is None
    assert [each.state for each in operations.all()] == [OperationState.UNDONE]


def test_local_connections_from_before_the_first_rules_go_on(amphora):
    with Listener(amphora.data, "127.0.0.1", 80) as listener:
        client = call_inside(amphora.data, lambda: socket.create_connection(("127.0.0.1", 80), 5.0))
        server, _ = listener.socket.accept()
        with client, server:
            server.settimeout(5.0)
            amphora.rules.protect("eth1")
            # To a kernel that has seen nothing of it before, the end of a connection is invalid.
            client.close()
            assert server.recv(1) == b""
