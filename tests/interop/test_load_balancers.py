# SPDX-License-Identifier: Apache-2.0
"""Load balancers of plain HTTP, TCP and PROXY listeners, from the first to the last."""

import subprocess

import pytest

from tests.interop import rig
from tests.interop.balancers import LOAD_BALANCER, balancer, both, identity, listener, pool
from tests.interop.driver import DriverFailed
from tests.interop.environments import HERE, interpreter
from tests.interop.udp import take_and_give_up
from tests.interop.visits import Visitor
from tests.support.vrrp_pair import eventually

NOTHING_FAILED = {"failed": []}


@pytest.fixture(scope="module", autouse=True)
def servers(members):
    for name, address in zip("ab", rig.MEMBERS, strict=True):
        members.http(name, address, 8080)
        members.echo(address, 7007)
        members.http(f"{name}-proxied", address, 8081, proxied=True)
    members.http("routed", rig.ROUTED_MEMBER, 8080)
    return members


@pytest.fixture
def serve(newest, visitor):
    """Update the amphora; what one test leaves is replaced by the next."""

    def update(*arguments, **others):
        assert newest.update(balancer=balancer(*arguments, **others)) == NOTHING_FAILED
        return visitor

    return update


def members_of(visitor, port, visits=4, **options):
    return {visitor.get(port, **options).member for _ in range(visits)}


def test_create_update_and_delete(newest, visitor, plugged):
    first, second = listener(1, 80, 1), listener(2, 81, 2)
    pools = [pool(1, *both(8080)), pool(2, (rig.MEMBERS[1], 8080))]
    assert newest.update(balancer=balancer([first], pools[:1])) == NOTHING_FAILED
    assert members_of(visitor, 80) == {"a", "b"}
    assert not visitor.reaches(81)
    assert newest.update(balancer=balancer([first, second], pools)) == NOTHING_FAILED
    assert members_of(visitor, 80) == {"a", "b"}
    assert members_of(visitor, 81) == {"b"}
    drained = pool(1, *both(8080))
    drained["members"][0]["enabled"] = False
    assert newest.update(balancer=balancer([first, second], [drained, pools[1]])) == NOTHING_FAILED
    assert members_of(visitor, 80) == {"b"}
    assert {each["uuid"] for each in newest.listeners()} == {first["id"], second["id"]}
    newest.delete(balancer=balancer([first, second], pools), listener_id=first["id"])
    assert not visitor.reaches(80)
    assert members_of(visitor, 81) == {"b"}
    newest.delete(balancer=balancer([second], pools), listener_id=second["id"])
    assert not visitor.reaches(81)
    assert newest.listeners() == []
    assert not (plugged.agent.base_path / LOAD_BALANCER).exists()


def test_a_disabled_listener_and_a_disabled_balancer_are_closed(serve, newest):
    pools = [pool(1, *both(8080))]
    visitor = serve([listener(1, 80, 1), listener(2, 81, 1)], pools)
    assert visitor.reaches(81)
    serve([listener(1, 80, 1), listener(2, 81, 1, enabled=False)], pools)
    assert (visitor.reaches(80), visitor.reaches(81)) == (True, False)
    serve([listener(1, 80, 1, enabled=False)], pools)
    assert not visitor.reaches(80)
    serve([listener(1, 80, 1)], pools)
    assert visitor.reaches(80)


def test_every_address_family_and_every_route(serve, plugged):
    visitor = serve(
        [listener(1, 80, 1), listener(2, 81, 2)], [pool(1, *both(8080)), pool(2, (rig.ROUTED_MEMBER, 8080))]
    )
    assert members_of(visitor, 80, address=rig.VIP6) == {"a", "b"}
    assert members_of(visitor, 81) == {"routed"}, "by the member port's host route"
    for source in (rig.FAR, rig.FARTHER):
        far = Visitor(plugged.cloud.far, source)
        assert members_of(far, 80) == {"a", "b"}, f"{source} is answered by a route of the VIP's"


def test_tcp_carries_every_byte(serve):
    visitor = serve(
        [listener(1, 80, 1, "TCP")], [pool(1, *both(7007), protocol="TCP", lb_algorithm="SOURCE_IP")]
    )
    payload = bytes(range(256)) * 1024
    assert visitor.exchange(80, payload) == payload


@pytest.mark.parametrize(
    ("protocol", "starts"), [("PROXY", "PROXY TCP4 203.0.113.50"), ("PROXYV2", "v2 11 cb007132")]
)
def test_the_proxy_protocol_tells_members_of_clients(serve, protocol, starts):
    visitor = serve([listener(1, 80, 1, "TCP")], [pool(1, *both(8081), protocol=protocol)])
    assert visitor.get(80).seen["proxy"].startswith(starts)


def test_headers_that_a_listener_inserts(serve):
    wanted = {"X-Forwarded-For": "true", "X-Forwarded-Port": "true", "X-Forwarded-Proto": "true"}
    visitor = serve([listener(1, 80, 1, insert_headers=wanted)], [pool(1, *both(8080))])
    headers = visitor.get(80).seen["headers"]
    assert {name: headers[name.lower()] for name in wanted} == {
        "X-Forwarded-For": rig.CLIENT,
        "X-Forwarded-Port": "80",
        "X-Forwarded-Proto": "http",
    }


def policy(number, rule, **action):
    defaults = {"id": identity(3, 10 * number), "invert": False, "key": None}
    return {"id": identity(3, number), "l7rules": [defaults | rule]} | action


def test_policies_route_redirect_and_reject(serve):
    policies = [
        policy(1, {"type": "PATH", "compare_type": "STARTS_WITH", "value": "/forbidden"}, action="REJECT"),
        policy(
            2,
            {"type": "HOST_NAME", "compare_type": "EQUAL_TO", "value": "b.example.com"},
            action="REDIRECT_TO_POOL",
            redirect_pool_id=identity(9, 2),
        ),
        policy(
            3,
            {"type": "HEADER", "key": "X-Old", "compare_type": "REGEX", "value": "^y.s$"},
            action="REDIRECT_TO_URL",
            redirect_url="https://www.example.com/",
            redirect_http_code=307,
        ),
        policy(
            4,
            {"type": "FILE_TYPE", "compare_type": "EQUAL_TO", "value": "png"},
            action="REDIRECT_PREFIX",
            redirect_prefix="https://images.example.com",
            redirect_http_code=302,
        ),
        policy(
            5,
            {"type": "COOKIE", "key": "lane", "compare_type": "CONTAINS", "value": "fast", "invert": True},
            action="REJECT",
        ),
    ]
    pools = [pool(1, (rig.MEMBERS[0], 8080)), pool(2, (rig.MEMBERS[1], 8080))]
    visitor = serve([listener(1, 80, 1, l7policies=policies)], pools)
    fast = {"Cookie": "lane=fast"}
    assert visitor.get(80, "/", **fast).member == "a"
    assert visitor.get(80, "/forbidden/x", **fast).status == 403
    assert visitor.get(80, "/", server_name="b.example.com", **fast).member == "b"
    old = visitor.get(80, "/", X_Old="yes", **fast)
    assert (old.status, old.headers["location"]) == (307, "https://www.example.com/")
    image = visitor.get(80, "/cat.png", **fast)
    assert (image.status, image.headers["location"]) == (302, "https://images.example.com/cat.png")
    assert visitor.get(80, "/").status == 403


@pytest.mark.parametrize(
    "persistence",
    [
        {"type": "SOURCE_IP"},
        {"type": "HTTP_COOKIE"},
        {"type": "APP_COOKIE", "cookie_name": "JSESSIONID"},
    ],
    ids=lambda each: each["type"],
)
def test_sessions_stay_with_a_member_over_a_reload(serve, newest, persistence):
    listeners, pools = [listener(1, 80, 1)], [pool(1, *both(8080), session_persistence=persistence)]
    visitor = serve(listeners, pools)
    first = visitor.get(80)
    cookies = {}
    if persistence["type"] == "HTTP_COOKIE":
        cookies = {"Cookie": first.headers["set-cookie"].partition(";")[0]}
        assert members_of(visitor, 80, **cookies) == {first.member}
        newest.reload(balancer=balancer(listeners, pools))
    if persistence["type"] == "APP_COOKIE":
        # A session that no member has begun is anybody's.
        assert members_of(visitor, 80, Cookie="JSESSIONID=unknown") == {"a", "b"}
    else:
        assert members_of(visitor, 80, **cookies) == {visitor.get(80, **cookies).member}


@pytest.mark.parametrize("check", ["HTTP", "TCP", "PING", "TLS-HELLO"])
def test_every_health_monitor_is_accepted(serve, check):
    monitor = {
        "id": identity(4, 1),
        "type": check,
        "delay": 1,
        "timeout": 1,
        "fall_threshold": 2,
        "rise_threshold": 2,
        "http_method": "GET",
        "url_path": "/health",
        "expected_codes": "200-204",
        "http_version": 1.1,
        "domain_name": "health.example.com",
    }
    visitor = serve([listener(1, 80, 1)], [pool(1, *both(8080), health_monitor=monitor)])
    assert visitor.get(80).status in (200, 503)


def test_a_dead_member_is_left_out_by_its_monitor(serve):
    monitor = {
        "id": identity(4, 3),
        "type": "TCP",
        "delay": 1,
        "timeout": 1,
        "fall_threshold": 1,
        "rise_threshold": 1,
    }
    targets = [(rig.MEMBERS[0], 8080), (rig.MEMBERS[1], 9)]
    visitor = serve([listener(1, 80, 3)], [pool(3, *targets, health_monitor=monitor)])
    eventually(lambda: members_of(visitor, 80) == {"a"}, "the dead member is left out", 30)


def test_metrics_of_a_prometheus_listener(serve, plugged):
    visitor = serve([listener(1, 80, 1), listener(2, 9090, None, "PROMETHEUS")], [pool(1, *both(8080))])
    assert visitor.get(80).status == 200
    argv = [str(interpreter("newest")), "-W", "ignore", str(HERE / "controller" / "prometheus_proxy.py")]
    proxy = subprocess.Popen(
        [*argv, plugged.cloud.data],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={"PATH": "/usr/bin"},
    )
    try:
        eventually(lambda: visitor.get(9090, "/metrics").status == 200, "the metrics are served", 30)
        text = visitor.get(9090, "/metrics").body.decode()
    finally:
        proxy.terminate()
        proxy.wait(10)
    assert f'octavia_listener_status{{listener="{identity(1, 1)}"' in text
    assert (
        f'octavia_member_status{{pool="{identity(9, 1)}:{identity(1, 1)}",member="{identity(5, 10)}"' in text
    )


def test_a_udp_listener_is_taken_and_given_up(newest, serve):
    serve([listener(1, 80, 1)], [pool(1, *both(8080))])
    newest.delete(balancer=balancer([listener(1, 80, 1)], []), listener_id=identity(1, 1))
    take_and_give_up(newest)


def test_what_haproxy_refuses_leaves_what_runs(serve, newest):
    visitor = serve([listener(1, 80, 1)], [pool(1, *both(8080))])
    broken = pool(1, *both(8080))
    broken["members"][0]["ip_address"] = "not an address"
    with pytest.raises(DriverFailed, match="InvalidRequest"):
        newest.update(balancer=balancer([listener(1, 80, 1)], [broken]))
    newest.reload(balancer=balancer([listener(1, 80, 1)], [pool(1, *both(8080))]))
    assert members_of(visitor, 80) == {"a", "b"}
