# SPDX-License-Identifier: Apache-2.0
"""Pairs of nodes with real keepalived in network namespaces on one bridge."""

import pytest

from tests.support.vrrp_pair import FAMILIES, NameServers, Network, Pair


@pytest.fixture(scope="session")
def network():
    with Network() as network:
        yield network


@pytest.fixture(scope="session")
def name_servers(network):
    servers = NameServers(network.nodes)
    yield servers
    servers.close()


@pytest.fixture(params=sorted(FAMILIES))
def vips(request):
    return FAMILIES[request.param]


@pytest.fixture
def new_pair(network, name_servers, memory_dir, vips):
    pair = Pair(network, memory_dir, vips)
    yield pair
    pair.clean_up()


@pytest.fixture
def pair(new_pair):
    return new_pair.start()
