# SPDX-License-Identifier: Apache-2.0
"""Words of routes that controllers use and keepalived does not."""

from hypothesis import given
from hypothesis import strategies as st

from amphora.keepalived.overlay import with_known_words

ROUTES = """
vrrp_instance one {
    virtual_routes {
        203.0.113.0/24 dev eth1 src 203.0.113.2 scope link table 1
        default via 203.0.113.1 dev eth1 onlink table 1
        198.51.100.0/24 dev eth1 gateway 203.0.113.5 onlink table 1
        2001:db8:1::/64 dev eth1 gateway 2001:db8::5 onlink table 1
    }
    track_script {
        gateway 203.0.113.9
    }
}
"""


def test_next_hops_of_host_routes_are_understood():
    expected = ROUTES.replace("gateway 203.0.113.5", "via 203.0.113.5").replace("gateway 2001", "via 2001")
    assert with_known_words(ROUTES.encode()).decode() == expected


def test_a_device_of_that_name_is_left_alone():
    routes = b"virtual_routes {\n 198.51.100.0/24 dev gateway table 1\n}"
    assert with_known_words(routes) == routes


@given(st.binary())
def test_other_text_stays_byte_for_byte(data):
    if b"gateway" not in data:
        assert with_known_words(data) == data


@given(st.text(alphabet="virtual_routes{} gateway1.:\n"))
def test_what_is_understood_is_not_changed_again(text):
    once = with_known_words(text.encode())
    assert with_known_words(once) == once
