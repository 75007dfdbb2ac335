# SPDX-License-Identifier: Apache-2.0
from ipaddress import ip_interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.keepalived.configuration import VirtualAddress, parse

# In the shape of what controllers send.
UPLOADED = b"""\
vrrp_script check_script {
    script /var/lib/octavia/vrrp/check_script.sh
    interval 5
}
vrrp_instance 1b000000000040008000000000000001 {
    state MASTER
    interface eth1
    virtual_router_id 1
    priority 100
    nopreempt
    advert_int 0.5
    authentication {
        auth_type PASS
        auth_pass b20e06c
    }
    unicast_src_ip 203.0.113.4
    unicast_peer {
        203.0.113.5
    }
    virtual_ipaddress {
        203.0.113.2 # the VIP
        203.0.113.3/24 dev eth2 scope link
    }
    virtual_ipaddress_excluded {
        2001:db8::2
    }
    virtual_routes {
        default via 203.0.113.1 dev eth1 onlink table 1
    }
    track_script {
        check_script
    }
}
"""


def test_an_upload_is_read():
    (instance,) = parse(UPLOADED).instances
    assert instance.name == "1b000000000040008000000000000001"
    assert (instance.interface, instance.state, instance.priority) == ("eth1", "MASTER", 100)
    assert (instance.router_id, instance.advert_interval, instance.version) == (1, 0.5, 4)
    assert instance.addresses == (
        VirtualAddress("eth1", ip_interface("203.0.113.2/32")),
        VirtualAddress("eth2", ip_interface("203.0.113.3/24")),
        VirtualAddress("eth1", ip_interface("2001:db8::2/128")),
    )


def test_defaults_are_those_of_keepalived():
    (instance,) = parse(b"vrrp_instance a { interface eth1\n }").instances
    assert (instance.state, instance.priority, instance.advert_interval) == ("BACKUP", 100, 1.0)
    assert instance.router_id is None
    assert instance.version is None
    assert instance.addresses == ()


@pytest.mark.parametrize("keyword", ["use_vmac", "use_vmac vrrp.51", "use_ipvlan"])
def test_the_interface_of_an_address_may_be_keepalived_s_choice(keyword):
    text = f"vrrp_instance a {{\n interface eth1\n {keyword}\n virtual_ipaddress {{\n 192.0.2.1\n }}\n}}"
    assert parse(text.encode()).addresses == {VirtualAddress("", ip_interface("192.0.2.1/32"))}


def test_addresses_of_all_instances_count():
    text = b"""
    vrrp_instance a { interface eth1
      virtual_ipaddress { 192.0.2.1
        nonsense
        192.0.2.300 } }
    vrrp_instance b
    { interface eth1
      virtual_ipaddress
      {
        2001:db8::1/64
      }
    }"""
    assert {str(each.address) for each in parse(text).addresses} == {"192.0.2.1/32", "2001:db8::1/64"}
    assert [each.version for each in parse(text).instances] == [4, 6]


@pytest.mark.parametrize(
    ("line", "seconds"),
    [("advert_int 3", 3.0), ("advert_int x", 1.0), ("advert_int -1", 1.0), ("advert_int nan", 1.0)],
)
def test_an_unusable_advert_interval_is_the_default(line, seconds):
    (instance,) = parse(f"vrrp_instance a {{\n {line}\n}}".encode()).instances
    assert instance.advert_interval == seconds


@given(st.one_of(st.binary(), st.lists(st.sampled_from(UPLOADED.split())).map(b"\n".join)))
def test_odd_text_never_raises(data):
    parse(data)


@given(st.lists(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)), max_size=6))
def test_every_address_written_is_known(addresses):
    lines = "\n".join(map(str, addresses))
    text = f"vrrp_instance a {{\n interface eth1\n virtual_ipaddress {{\n{lines}\n}}\n}}"
    assert {each.address.ip for each in parse(text.encode()).addresses} == set(addresses)
