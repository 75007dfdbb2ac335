# SPDX-License-Identifier: Apache-2.0
"""One of a pair under /1.0, with keepalived as a controller configures it."""

import pytest

from amphora.testing.agent import free_port
from tests.support.attached_amphora import AttachedAmphora
from tests.support.load_balancers import (
    AMPHORA,
    LISTENER,
    LOAD_BALANCER,
    VIP,
    backend,
    frontend,
    global_section,
    peers_section,
)
from tests.support.vrrp_pair import eventually

ONE = f"/1.0/loadbalancer/{LOAD_BALANCER}"
KEEPALIVED = """
vrrp_script check_script {{
    script {base_path}/vrrp/check_script.sh
    interval 1
    fall 2
    rise 2
}}

vrrp_instance 1b000000000040008000000000000001 {{
    state MASTER
    interface eth1
    virtual_router_id 1
    priority 100
    nopreempt
    accept
    garp_master_refresh 5
    garp_master_refresh_repeat 2
    advert_int 1
    authentication {{
        auth_type PASS
        auth_pass 1a2b3c4
    }}
    unicast_src_ip 203.0.113.4
    unicast_peer {{
        203.0.113.5
    }}
    virtual_ipaddress {{
        203.0.113.2
    }}
    virtual_ipaddress_excluded {{
        2001:db8::4
    }}
    virtual_routes {{
        203.0.113.0/24 dev eth1 src 203.0.113.2 scope link table 1
        default via 203.0.113.1 dev eth1 onlink table 1
    }}
    virtual_rules {{
        from 203.0.113.2/32 table 1 priority 100
    }}
    track_script {{
        check_script
    }}
}}
"""


@pytest.fixture
def amphora(memory_dir):
    amphora = AttachedAmphora(memory_dir, "ACTIVE_STANDBY")
    yield amphora
    amphora.agent.call("PUT", "/1.0/vrrp/stop")
    amphora.clean_up()


def put(amphora, path, body=b""):
    answer = amphora.agent.call("PUT", path, body)
    return answer.status, answer.json


def holds_the_vip(amphora):
    return amphora.agent.call("GET", "/1.0/interface/203.0.113.2").status == 200


def start_load_balancer(amphora):
    body = (
        global_section(amphora.agent.base_path)
        + peers_section(f"203.0.113.4:{free_port()}")
        + frontend(LISTENER, ["203.0.113.2:80", "2001:db8::4:80"])
        + backend(LISTENER, 9)
    )
    path = f"/1.0/loadbalancer/{AMPHORA}/{LOAD_BALANCER}/haproxy"
    assert put(amphora, path, body.encode())[0] == 202
    assert put(amphora, f"{ONE}/reload")[0] == 202


def test_the_vip_is_held_while_haproxy_answers(amphora):
    assert amphora.post("/1.0/plug/vip/203.0.113.2", VIP)[0] == 202
    name = amphora.agent.call("GET", "/1.0/interface/203.0.113.4").json["interface"]
    assert name == "eth1"
    configuration = KEEPALIVED.format(base_path=amphora.agent.base_path).encode()
    for _ in range(2):
        assert put(amphora, "/1.0/vrrp/upload", configuration) == (200, {"message": "OK"})
    started = {"message": "OK", "details": "keepalived started"}
    reloaded = {"message": "OK", "details": "keepalived reloaded"}
    assert put(amphora, "/1.0/vrrp/start") == (202, started)
    assert put(amphora, "/1.0/vrrp/start") == (202, reloaded)
    assert not holds_the_vip(amphora), "a node without a load balancer serves nobody"
    start_load_balancer(amphora)
    eventually(lambda: holds_the_vip(amphora), "the VIP is held", 30)
    assert "203.0.113.2/32" in amphora.addresses("eth1")
    assert "from 203.0.113.2 lookup 1" in amphora.rules()
    assert put(amphora, f"{ONE}/stop")[0] == 202
    eventually(lambda: not holds_the_vip(amphora), "the VIP is given up", 30)
    assert put(amphora, f"{ONE}/start")[0] == 202
    eventually(lambda: holds_the_vip(amphora), "the VIP is held", 30)
    for _ in range(2):
        stopped = {"message": "OK", "details": "keepalived stoped"}
        assert put(amphora, "/1.0/vrrp/stop") == (202, stopped)
        assert not holds_the_vip(amphora)
