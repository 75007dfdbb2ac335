# SPDX-License-Identifier: Apache-2.0
"""Whatever is done to a port behind the agent's back is told by its name, and healed where that is asked."""

import os
import signal
import subprocess

import pytest

from tests.support.attached_amphora import AttachedAmphora, ip
from tests.support.drifting import OFTEN, DriftWatch, healing
from tests.support.load_balancers import VIP

#: Reason, area, and what ``ip`` does in the data namespace; one list after the other.
MISCHIEF = [
    [
        ("address-missing", "addresses", "addr del 203.0.113.4/24 dev eth1"),
        ("address-unexpected", "addresses", "addr add 203.0.113.99/32 dev eth1"),
        ("route-missing", "routes", "route del default dev eth1 table 1"),
        ("route-unexpected", "routes", "route add 192.0.2.0/24 dev eth1 table 1 proto static"),
        ("rule-missing", "rules", "rule del from 203.0.113.2/32 table 1"),
        ("rule-unexpected", "rules", "rule add from 192.0.2.1/32 table 1 protocol static"),
        ("mtu-differs", "links", "link set eth1 mtu 1400"),
        ("vip-missing", "vip", "addr del 203.0.113.2/32 dev eth1"),
    ],
    [("link-down", "links", "link set eth1 down")],
    [("link-elsewhere", "links", "link set eth1 netns {init} name {link}")],
]


@pytest.fixture
def amphora(memory_dir, request):
    topology, options = request.param
    amphora = AttachedAmphora(memory_dir, topology, options)
    yield amphora
    amphora.agent.call("PUT", "/1.0/vrrp/stop")
    amphora.clean_up()


@pytest.fixture
def watch(amphora):
    watch = DriftWatch(amphora.agent)
    assert amphora.post("/1.0/plug/vip/203.0.113.2", VIP)[0] == 202
    watch.clean()
    return watch


def make_mischief(amphora, words):
    where = {"init": str(os.getpid()), "link": amphora.links[0]}
    ip("-n", amphora.data, *(word.format(**where) for word in words.split()))


@pytest.mark.parametrize("amphora", [("SINGLE", OFTEN)], indirect=True)
def test_every_kind_of_drift_is_told_and_gone_after_a_restart(amphora, watch):
    for deeds in MISCHIEF:
        for _, _, words in deeds:
            make_mischief(amphora, words)
        for reason, area, words in deeds:
            assert watch.told(reason)["area"] == area, words
            assert watch.now()["areas"][area] >= 1
        amphora.agent.stop()
        amphora.agent.start()
        watch.clean()


@pytest.mark.parametrize("amphora", [("SINGLE", healing("interfaces"))], indirect=True)
@pytest.mark.parametrize("deeds", MISCHIEF, ids=["contents", "down", "elsewhere"])
def test_drift_of_interfaces_is_healed(amphora, watch, deeds):
    before = everything(amphora)
    for _, _, words in deeds:
        make_mischief(amphora, words)
    watch.told(deeds[0][0])
    watch.healed("interfaces")
    assert everything(amphora) == before


@pytest.mark.parametrize("amphora", [("SINGLE", healing("vip"))], indirect=True)
def test_missing_vip_of_a_single_amphora_is_put_back(amphora, watch):
    make_mischief(amphora, "addr del 203.0.113.2/32 dev eth1")
    watch.healed("vip")
    assert "203.0.113.2/32" in amphora.addresses("eth1")


def everything(amphora):
    families = ("-4", "-6")
    return (
        {each for each in amphora.addresses("eth1") if not each.startswith("fe80")},
        [amphora.routes("eth1", table, family) for table in ("main", "1") for family in families],
        [amphora.rules(family) for family in families],
    )


KEEPALIVED = b"""\
vrrp_instance pair {
  state %s
  interface eth1
  virtual_router_id 51
  priority 100
  advert_int 1
  virtual_ipaddress {
    203.0.113.2
  }
}
"""


def run_keepalived(amphora, state=b"BACKUP"):
    agent = amphora.agent
    assert agent.call("PUT", "/1.0/vrrp/upload", KEEPALIVED % state).status == 200
    assert agent.call("PUT", "/1.0/vrrp/start").status == 202


@pytest.mark.parametrize("amphora", [("ACTIVE_STANDBY", healing("vip"))], indirect=True)
def test_vip_that_stays_without_keepalived_is_taken_off(amphora, watch):
    run_keepalived(amphora)
    watch.until(lambda _: "203.0.113.2/32" in amphora.addresses("eth1"), "keepalived is master")
    assert watch.next()["drift"] == []
    amphora.agent.call("PUT", "/1.0/vrrp/stop")
    assert "203.0.113.2/32" not in amphora.addresses("eth1")
    make_mischief(amphora, "addr add 203.0.113.2/32 dev eth1")
    assert watch.told("vip-orphaned")["object"] == "203.0.113.2"
    watch.healed("vip")
    assert "203.0.113.2/32" not in amphora.addresses("eth1")


@pytest.mark.parametrize("amphora", [("ACTIVE_STANDBY", OFTEN)], indirect=True)
def test_vip_on_a_standby_is_told(amphora, watch):
    peer = ("203.0.113.9/24", amphora.links[2])
    with AdvertisingPeer(amphora, *peer):
        run_keepalived(amphora)
        assert watch.next()["drift"] == []
        make_mischief(amphora, "addr add 203.0.113.2/32 dev eth1")
        told = watch.told("vip-on-standby")
        assert (told["area"], told["desired"]) == ("vip", "held by the peer")


class AdvertisingPeer:
    """A keepalived of a higher priority on the other end of the port's link."""

    def __init__(self, amphora, address, link):
        self._directory = amphora.agent.directory
        self._namespace = f"{amphora.data}-peer"
        self._address, self._link = address, link

    def __enter__(self):
        text = KEEPALIVED.replace(b"eth1", self._link.encode()).replace(b"priority 100", b"priority 200")
        path = self._directory / "peer.conf"
        path.write_bytes(text % b"MASTER")
        ip("netns", "add", self._namespace)
        ip("link", "set", self._link, "netns", self._namespace)
        ip("-n", self._namespace, "addr", "add", self._address, "dev", self._link)
        ip("-n", self._namespace, "link", "set", self._link, "up")
        pids = [f"--{name}={self._directory / name}.pid" for name in ("pid", "vrrp_pid")]
        command = ["keepalived", "--dont-fork", "--vrrp", "--log-console", "-f", str(path), *pids]
        self._process = subprocess.Popen(
            ["ip", "netns", "exec", self._namespace, *command],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def __exit__(self, *_):
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(20)
        subprocess.run(["ip", "netns", "del", self._namespace], timeout=10, capture_output=True)
