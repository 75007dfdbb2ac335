# SPDX-License-Identifier: Apache-2.0
"""Load balancers under /1.0: upload, download, actions, list and delete."""

import hashlib

import pytest

from amphora.errors import OperationFailed, ServiceError
from amphora.models import InterfaceConfig, Role
from tests.support.load_balancers import (
    AMPHORA,
    LISTENER,
    LOAD_BALANCER,
    MAC,
    PEER,
    TLS_LISTENER,
    VIP,
    backend,
    frontend,
    global_section,
    internal_metrics,
    peers_section,
)

ONE = f"/1.0/loadbalancer/{LOAD_BALANCER}"
UPLOAD = f"/1.0/loadbalancer/{AMPHORA}/{LOAD_BALANCER}/haproxy"
UNKNOWN = {"message": "Loadbalancer Not Found", "details": f"No loadbalancer with UUID: {LOAD_BALANCER}"}
CONFIGURATION = (
    global_section()
    + frontend(LISTENER, ["203.0.113.2:80", "2001:db8::4:80"], "tcp")
    + backend(LISTENER, 8080, "tcp")
    + frontend(TLS_LISTENER, ["203.0.113.2:443 ssl crt-list /x/y.pem"])
    + backend(TLS_LISTENER, 8080)
).encode()


def upload(client, body=CONFIGURATION):
    return client.do("PUT", UPLOAD, body)


def test_upload_is_accepted_and_named_by_the_digest_of_what_came(client, rig):
    answer = upload(client)
    assert (answer.status_int, answer.json) == (202, {"message": "OK"})
    assert answer.headers["ETag"] == hashlib.md5(CONFIGURATION).hexdigest()
    assert "haproxy" not in str(rig.processes.machine.specs), "an upload starts nothing"


def test_download_is_what_came_byte_for_byte(client):
    upload(client, CONFIGURATION + b"# \xc3\xa9 \t\r\n# no final newline")
    answer = client.do("GET", f"{ONE}/haproxy")
    assert (answer.status_int, answer.body) == (200, CONFIGURATION + b"# \xc3\xa9 \t\r\n# no final newline")
    assert answer.headers["Content-Type"] == "text/plain; charset=UTF-8"
    assert answer.headers["ETag"] == hashlib.md5(answer.body).hexdigest()


def test_a_refused_upload_tells_haproxys_words_and_keeps_the_former(client):
    upload(client)
    answer = upload(client, b"frontend x\n    bind :80\nBAD_LINE\n")
    assert (answer.status_int, answer.json["message"]) == (400, "Invalid request")
    assert "[haproxy.cfg:3]: unknown keyword 'BAD_LINE'" in answer.json["details"]
    assert client.do("GET", f"{ONE}/haproxy").body == CONFIGURATION


def test_the_amphoras_name_among_peers_is_checked_and_run_with(client, rig):
    body = (global_section() + peers_section("203.0.113.4:1025")).encode()
    upload(client, body + frontend(LISTENER, ["203.0.113.2:80"]).encode())
    assert rig.engine.haproxy.peers_checked == [PEER]
    client.do("PUT", f"{ONE}/start")
    argv = rig.processes.machine.specs[f"haproxy-{LOAD_BALANCER}"].argv
    assert argv[argv.index("-L") + 1] == PEER
    upload(client)
    client.do("PUT", f"{ONE}/reload")
    assert rig.processes.machine.specs[f"haproxy-{LOAD_BALANCER}"].argv == argv


def test_a_load_balancer_may_have_all_its_listeners_disabled(client):
    assert upload(client, global_section().encode()).status_int == 202
    assert client.do("PUT", f"{ONE}/reload").status_int == 202
    assert client.do("GET", "/1.0/listeners").json == []


def test_start_reload_and_stop_in_the_words_of_this_api(client):
    upload(client)
    started = f"Configuration file is valid\nhaproxy daemon for {LOAD_BALANCER} started"
    for word, details in (
        ("reload", started),
        ("reload", f"Listener {LOAD_BALANCER} reloaded"),
        ("RELOAD", f"Listener {LOAD_BALANCER} reloaded"),
        ("stop", f"Listener {LOAD_BALANCER} stoped"),
        ("start", started),
    ):
        answer = client.do("PUT", f"{ONE}/{word}")
        assert (answer.status_int, answer.json) == (202, {"message": "OK", "details": details})


@pytest.mark.parametrize("word", ["BAD_TEST_DATA", "restart", "haproxy"])
def test_an_unknown_action_is_told_before_an_unknown_load_balancer(client, word):
    answer = client.do("PUT", f"{ONE}/{word}")
    assert answer.status_int == 400
    assert answer.json == {"message": "Invalid Request", "details": f"Unknown action: {word}"}


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", f"{ONE}/haproxy"), *(("PUT", f"{ONE}/{word}") for word in ("start", "stop", "reload"))],
)
def test_an_unknown_load_balancer(client, method, path):
    answer = client.do(method, path)
    assert (answer.status_int, answer.json) == (404, UNKNOWN)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("start", "Error starting haproxy"),
        ("stop", "Error stoping haproxy"),
        ("reload", "Error reloading haproxy"),
    ],
)
def test_an_action_that_fails_tells_why(client, rig, word, message):
    upload(client)
    if word != "start":
        client.do("PUT", f"{ONE}/start")
    if word == "stop":
        rig.processes.fail_next("stop", ServiceError("a process survived"))
    rig.engine.fail_at[word] = [OperationFailed("a process survived")]
    answer = client.do("PUT", f"{ONE}/{word}")
    assert (answer.status_int, answer.json["message"]) == (500, message)
    assert "a process survived" in answer.json["details"]


def test_listeners_of_all_load_balancers_are_active_even_when_stopped(client):
    assert client.do("GET", "/1.0/listeners").json == []
    upload(client, CONFIGURATION + internal_metrics().encode())
    answer = client.do("GET", "/1.0/listeners")
    assert (answer.status_int, answer.json) == (
        200,
        [
            {"status": "ACTIVE", "uuid": LISTENER, "type": "TCP"},
            {"status": "ACTIVE", "uuid": TLS_LISTENER, "type": "TERMINATED_HTTPS"},
        ],
    )


def test_delete_leaves_nothing_and_may_be_repeated(client, rig):
    path = f"/1.0/listeners/{LOAD_BALANCER}"
    upload(client)
    client.do("PUT", f"{ONE}/certificates/a.pem", b"x")
    client.do("PUT", f"{ONE}/start")
    for _ in range(2):
        answer = client.do("DELETE", path)
        assert (answer.status_int, answer.json) == (200, {"message": "OK"})
    assert rig.processes.machine.specs == {}
    assert not rig.directory.files(LOAD_BALANCER).directory.exists()
    assert not rig.cert_store.directory(LOAD_BALANCER).exists()


def test_a_delete_that_cannot_stop_haproxy_tells_why(client, rig):
    upload(client)
    client.do("PUT", f"{ONE}/start")
    rig.processes.fail_next("remove", ServiceError("a process survived"))
    answer = client.do("DELETE", f"/1.0/listeners/{LOAD_BALANCER}")
    assert (answer.status_int, answer.json) == (
        500, {"message": "Error stopping haproxy", "details": "a process survived"},
    )  # fmt: skip
    assert client.do("GET", f"{ONE}/haproxy").status_int == 200


def test_neighbours_are_told_of_the_vips_after_start_and_reload(client, rig):
    rig.network.wires.plug(MAC)
    client.send("/1.0/plug/vip/203.0.113.2", VIP)
    rig.network.wires.active["eth7"] = InterfaceConfig("eth7", "fa:16:3e:00:00:77")
    upload(client)
    for word in ("start", "reload"):
        rig.told.clear()
        client.do("PUT", f"{ONE}/{word}")
        assert rig.told == [("203.0.113.2", "eth1"), ("2001:db8::4", "eth1")]
    rig.pair_up()
    rig.vrrp.actual_role = Role.ACTIVE
    rig.told.clear()
    client.do("PUT", f"{ONE}/reload")
    assert rig.told == [], "keepalived tells them itself"
