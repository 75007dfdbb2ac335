# SPDX-License-Identifier: Apache-2.0
"""A change of one link while the kernel, or another interface's change, is at work as well."""

from dataclasses import replace
from ipaddress import ip_interface, ip_network

import pytest

from amphora.drivers.network.interface_state import InterfaceState, change, read_state, wanted_state
from amphora.drivers.network.kernel import PROTOCOL_STATIC, Address, Link, Rule
from amphora.models import InterfaceConfig, RoutingRule

LINK = Link(2, "eth1", "fa:16:3e:00:aa:01", False, 1500)
OURS = ip_interface("2001:db8::100/128")
LINK_LOCAL = Address(ip_interface("fe80::1/64"))
OTHERS_RULE = Rule(ip_network("198.51.100.7/32"), 2, 100, PROTOCOL_STATIC)
CONFIG = InterfaceConfig(
    "eth1", LINK.mac_address, addresses=(OURS,), rules=(RoutingRule(ip_network("2001:db8::100/128"), 1),)
)


class MemoryKernel:
    """Holds one link and the rules of a namespace; something else happens when the link is set up."""

    def __init__(self, state):
        self.state = state
        self.meanwhile = lambda state: state

    def links(self):
        return [self.state.link]

    def addresses(self, _index):
        return list(self.state.addresses)

    def routes(self, _index):
        return list(self.state.routes)

    def rules(self):
        return list(self.state.rules)

    def set_up(self, _index, up):
        self.state = self.meanwhile(replace(self.state, link=replace(self.state.link, up=up)))

    def change_address(self, verb, _index, address):
        left = tuple(each for each in self.state.addresses if each.interface != address.interface)
        self.state = replace(self.state, addresses=left if verb == "del" else (*left, address))

    def change_rule(self, verb, rule):
        left = tuple(each for each in self.state.rules if each != rule)
        self.state = replace(self.state, rules=left if verb == "del" else (*left, rule))


def reach(kernel, config=CONFIG):
    now = read_state(kernel, LINK.index)
    change(kernel, now, wanted_state(config, now))
    return kernel.state


@pytest.fixture
def kernel():
    return MemoryKernel(InterfaceState(LINK))


def test_a_link_gets_what_it_is_to_hold(kernel):
    state = reach(kernel)
    assert state.link.up
    assert [address.interface for address in state.addresses] == [OURS]
    assert [rule.source for rule in state.rules] == [CONFIG.rules[0].source]


def test_the_kernels_link_local_address_stays(kernel):
    kernel.meanwhile = lambda state: replace(state, addresses=(LINK_LOCAL,))
    assert LINK_LOCAL in reach(kernel).addresses


def test_rules_that_another_interface_is_given_meanwhile_stay(kernel):
    kernel.meanwhile = lambda state: replace(state, rules=(OTHERS_RULE,))
    assert OTHERS_RULE in reach(kernel).rules


def test_rules_that_another_interface_loses_meanwhile_do_not_come_back(kernel):
    kernel.state = replace(kernel.state, rules=(OTHERS_RULE,))
    kernel.meanwhile = lambda state: replace(state, rules=())
    assert OTHERS_RULE not in reach(kernel).rules


def test_what_is_no_longer_configured_goes(kernel):
    reach(kernel)
    state = reach(kernel, replace(CONFIG, addresses=()))
    assert state.addresses == ()
