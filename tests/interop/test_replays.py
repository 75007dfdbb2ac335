# SPDX-License-Identifier: Apache-2.0
"""Controllers repeat requests blindly after time-outs: each repetition is accepted and changes nothing."""

from random import Random

import pytest

from amphora.testing.pki import Pki
from tests.interop import rig
from tests.interop.balancers import LOAD_BALANCER, balancer, both, listener, pool
from tests.interop.replay import Retry, make, retried, state

SEQUENCES = 40
FLOWS_EACH = 2


class Recorded:
    """What a driver did, flow by flow, and the state that each flow leads to from any other."""

    def __init__(self, controller, agent):
        self._controller = controller
        self.agent = agent
        self.flows = {}

    def flow(self, name, *calls, changes_balancer=True):
        """Let the driver act, and remember its requests."""
        self._controller.made()
        for method, parameters in calls:
            getattr(self._controller, method)(**parameters)
        after = state(self.agent, LOAD_BALANCER) if changes_balancer else None
        self.flows[name] = (self._controller.made(), after)

    def expect(self, name):
        """Check that what there is now is what a flow leads to; files that nothing names may be left."""
        expected, found = self.flows[name][1], state(self.agent, LOAD_BALANCER)
        assert found | {"certificates": None} == expected | {"certificates": None}
        if b"crt-list" in (expected["stored"] or b""):
            assert expected["certificates"].items() <= found["certificates"].items()


@pytest.fixture(scope="module")
def recorded(newest, plugged, members):
    for name, address in zip("ab", rig.MEMBERS, strict=True):
        members.http(name, address, 8080)
    plain, other = listener(1, 80, 1), listener(2, 81, 1)
    secure = listener(3, 443, 1, "TERMINATED_HTTPS", tls_certificate_id=certificate(newest, plugged))
    pools = [pool(1, *both(8080)), pool(2, (rig.MEMBERS[1], 8080))]
    one, all_three = balancer([plain], pools), balancer([plain, secure], pools)
    recorded = Recorded(newest, plugged.agent)
    recorded.flow("one", ("update", {"balancer": one}))
    recorded.flow("two", ("update", {"balancer": balancer([listener(1, 80, 2), other], pools)}))
    recorded.flow("gone", ("delete", {"balancer": one, "listener_id": plain["id"]}))
    recorded.flow("secure", ("update", {"balancer": all_three}))
    recorded.flow("without", ("delete", {"balancer": all_three, "listener_id": secure["id"]}))
    recorded.flow("amphora", *maintenance(newest, plugged, one), changes_balancer=False)
    return recorded


def certificate(controller, amphora):
    (amphora.directory / "tenant").mkdir()
    made = Pki(amphora.directory / "tenant", "tenant CA", key="rsa").server("www.example.com")
    return controller.store_certificate(
        certificate=made.certificate_pem.decode(), private_key=made.key_pem.decode()
    )


def maintenance(controller, amphora, document):
    """Calls that concern the amphora and not its load balancer."""
    text = controller.agent_configuration(topology="SINGLE", changes={"heartbeat_interval": 3})
    vip = {"port": rig.VIP_PORT, "subnet": rig.SUBNET, "additional": rig.ADDITIONAL}
    return [
        ("plug_vip", {"balancer": document} | vip),
        ("plug_network", {"port": rig.MEMBER_PORT, "vip_subnet": rig.SUBNET}),
        ("interface", {"address": rig.VRRP_IP}),
        ("rules", {"balancer": document, "address": rig.VRRP_IP}),
        ("rotate", {"pem": amphora.new_certificate().decode()}),
        ("put_agent_configuration", {"text": text + amphora.own_sections()}),
    ]


@pytest.mark.parametrize("name", ["one", "two", "gone", "secure", "without"])
def test_every_request_of_a_load_balancer_twice_in_a_row(recorded, name):
    for flow in ("gone", name):
        for request in recorded.flows[flow][0]:
            make(recorded.agent, Retry(request, 2, at_once=False))
    recorded.expect(name)


def test_every_request_of_an_amphora_twice_in_a_row(recorded, plugged, visitor):
    requests, _ = recorded.flows["amphora"]
    before = kernel(plugged)
    for request in requests:
        make(recorded.agent, Retry(request, 2, at_once=False))
    assert kernel(plugged) == before
    assert plugged.agent.config_path.read_bytes() == requests[-1].body
    for request in recorded.flows["one"][0]:
        make(recorded.agent, Retry(request, 1, at_once=False))
    assert visitor.get(80).status == 200


def test_random_repetitions_end_where_single_requests_do(recorded, visitor, plugged):
    before = kernel(plugged)
    for seed in range(SEQUENCES):
        random = Random(seed)
        names = random.choices(list(recorded.flows), k=FLOWS_EACH)
        done = [f"sequence {seed}: {', '.join(names)}"]
        try:
            for name in names:
                for retry in retried(recorded.flows[name][0], random):
                    done.append(str(retry))
                    make(recorded.agent, retry)
            if last := next((name for name in reversed(names) if name != "amphora"), None):
                recorded.expect(last)
                assert visitor.reaches(80) is (last != "gone")
        except AssertionError as error:
            raise AssertionError("\n".join([*done, str(error)])) from error
    assert kernel(plugged) == before


def kernel(amphora):
    """Addresses, routes and rules of the data namespace, without what counts down."""
    shown = [
        rig.ip("-n", amphora.cloud.data, family, kind)
        for family in ("-4", "-6")
        for kind in ("addr", "route", "rule")
    ]
    return [line.split("valid_lft")[0].split(" expires")[0] for text in shown for line in text.splitlines()]
