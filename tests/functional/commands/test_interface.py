# SPDX-License-Identifier: Apache-2.0
"""``amphora-interface`` and ``amphora-netns`` on real links."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from amphora.drivers.network.config_format import to_json
from amphora.testing.network_bench import vip_config

REPOSITORY = Path(__file__).resolve().parents[3]
OCTAVIA = REPOSITORY / "tests/unit/drivers/network/octavia"

VIPS = {"203.0.113.4/24", "203.0.113.2/32", "2001:db8::4/128"}


@pytest.fixture
def taken_over(bench):
    """An amphora that Octavia's agent has set up: its files, and links as that leaves them."""
    for name in ("vip-single", "member", "lo"):
        shutil.copy(OCTAVIA / f"{name}.json", bench.interfaces / f"{name}.json")
    (bench.interfaces / "vip-single.json").rename(bench.interfaces / "eth1.json")
    (bench.interfaces / "member.json").rename(bench.interfaces / "eth2.json")
    bench.ip("netns", "add", bench.data) if bench.data not in bench.ip("netns") else None
    for number, name in enumerate(("eth1", "eth2")):
        bench.plug()
        old = bench.links(bench.root)[0]["ifname"]
        bench.ip("-n", bench.root, "link", "set", old, "netns", bench.data, "name", name)
        assert bench.peer_of(number)
    return bench


@pytest.fixture
def stored(bench):
    """An amphora of ours with one port, not yet brought up."""
    mac = bench.plug()
    (bench.interfaces / "eth1.json").write_text(to_json(vip_config("dual", mac)))
    return bench


def test_interfaces_that_octavia_has_stored(taken_over):
    assert taken_over.run("interface", "up", "all") == (0, "")
    assert taken_over.addresses("eth1") == VIPS
    assert taken_over.addresses("eth2") == {"10.0.0.5/24"}
    assert any(
        each["scope"] == "link" for link in taken_over.links(taken_over.data) for each in link["addr_info"]
    ), "the kernel's own link-local address stays"
    assert "::1/128" in taken_over.inside("ip", "-6", "addr", "show", "dev", "lo")
    assert taken_over.run("interface", "up", "all") == (0, "")


def test_up_and_down_from_either_namespace(stored):
    for namespace in (stored.root, stored.data):
        assert stored.run("interface", "up", "eth1", namespace=namespace) == (0, "")
        assert len(stored.addresses("eth1")) == 4
    assert stored.run("interface", "down", "eth1") == (0, "")
    assert stored.addresses("eth1") == set()
    for action in ("down", "up"):
        assert stored.run("interface", action, "all") == (0, "")
    assert len(stored.addresses("eth1")) == 4


@pytest.mark.parametrize("options", [(), ("--mount-proc",)], ids=["proc-of-the-machine", "proc-of-its-own"])
def test_inside_of_another_pid_namespace(stored, options):
    stored.run("interface", "up", "eth1")
    document = json.loads((stored.interfaces / "eth1.json").read_text())
    (stored.interfaces / "eth1.json").write_text(json.dumps(document | {"mtu": 1400}))
    contained = {"namespace": stored.data, "through": ("unshare", "--pid", "--fork", *options)}
    assert stored.run("interface", "up", "eth1", **contained) == (0, "")
    assert "mtu 1400 " in stored.inside("ip", "link", "show", "dev", "eth1")
    assert stored.run("interface", "down", "all", **contained) == (0, "")
    assert stored.addresses("eth1") == set()


def test_an_mtu_that_changed_while_the_interface_is_up(stored):
    stored.run("interface", "up", "eth1")
    document = json.loads((stored.interfaces / "eth1.json").read_text())
    (stored.interfaces / "eth1.json").write_text(json.dumps(document | {"mtu": 1400}))
    assert stored.run("interface", "up", "eth1") == (0, "")
    assert "mtu 1400 " in stored.inside("ip", "link", "show", "dev", "eth1")


def test_a_port_that_is_gone_does_not_keep_others_down(stored):
    (stored.interfaces / "eth2.json").write_text(to_json(vip_config("v4", "02:00:00:00:00:77", "eth2")))
    status, output = stored.run("interface", "up", "all")
    assert (status, output) == (
        0,
        "eth2 is passed over: no link has the MAC address 02:00:00:00:00:77\n",
    )
    assert len(stored.addresses("eth1")) == 4


def test_what_cannot_be_done_is_said(stored):
    (stored.interfaces / "eth2.json").write_text("{}")
    for name in ("eth2", "eth9"):
        status, output = stored.run("interface", "up", name)
        assert status == 2
        assert f"Error: Could not configure interface: {name}: no configuration is stored\n" in output
    for words in ([], ["up"], ["restart", "all"], ["up", "a", "b"]):
        assert stored.run("interface", *words)[0] == 1
    assert stored.run("interface", "up", "lo") == (0, "")


def test_the_namespace_and_its_interfaces_after_a_boot(stored):
    stored.runner.run(("ip", "netns", "del", stored.data), timeout=10)
    (stored.directory / "lb").mkdir()
    rules = (REPOSITORY / "tests/unit/core/network/golden/every-kind.nft").read_text()
    (stored.directory / "lb/nftables-vip.rules").write_text(rules)
    for _ in range(2):
        status, output = stored.run("netns")
        assert (status, output) == (0, "")
        assert len(stored.addresses("eth1")) == 4
        assert "tcp dport 443 accept" in stored.inside("nft", "list", "ruleset")
    for key in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding", "net.ipv4.ip_nonlocal_bind"):
        assert stored.inside("sysctl", "-n", key) == "1\n"


def test_a_boot_goes_on_past_what_cannot_be_brought_back(stored):
    (stored.interfaces / "eth2.json").write_text(to_json(vip_config("v4", "02:00:00:00:00:77", "eth2")))
    status, output = stored.run("netns")
    assert status == 0
    assert "eth2: No suitable network interface found" in output
    assert len(stored.addresses("eth1")) == 4
    assert stored.run("netns", "more")[0] == 1


def test_the_unit(tmp_path):
    text = (REPOSITORY / "etc/systemd/amphora-netns.service").read_text()
    unit = tmp_path / "amphora-netns.service"
    # What it runs is not installed on every machine that runs this test.
    unit.write_text(text.replace("ExecStart=amphora-netns", "ExecStart=/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
