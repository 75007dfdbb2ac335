# SPDX-License-Identifier: Apache-2.0
"""The amphora itself under /1.0, keepalived, the agent's configuration, and what is the same everywhere."""

import hashlib
import os

import pytest

from amphora.errors import (
    ConfigurationError,
    InvalidConfiguration,
    OperationFailed,
    VrrpActionFailed,
    VrrpNotConfigured,
    VrrpWasGone,
)
from amphora.models import ActionKind, ActionResult
from tests.support.load_balancers import AMPHORA, LISTENER, LOAD_BALANCER, frontend, global_section

NOT_FOUND = (
    "404 Not Found: The requested URL was not found on the server. If you entered the URL manually please "
    "check your spelling and try again."
)


@pytest.mark.parametrize("path", ["/", "//"])
def test_discovery(client, path):
    answer = client.do("GET", path)
    assert (answer.status_int, answer.json) == (200, {"api_version": "1.0"})


def test_info(client):
    answer = client.do("GET", "/1.0/info")
    assert answer.status_int == 200
    assert set(answer.json) == {
        "hostname", "api_version", "haproxy_version", "keepalived_version", "ipvsadm_version",
    }  # fmt: skip
    assert answer.json["api_version"] == "1.0"
    assert int(answer.json["haproxy_version"].split(".")[0]) == 2


def test_details(client):
    body = (global_section() + frontend(LISTENER, ["203.0.113.2:80"])).encode()
    client.do("PUT", f"/1.0/loadbalancer/{AMPHORA}/{LOAD_BALANCER}/haproxy", body)
    details = client.do("GET", "/1.0/details").json
    assert set(details["memory"]) == {
        "total", "free", "buffers", "cached", "swap_used", "shared", "slab",
    }  # fmt: skip
    assert all(type(value) is int for value in (*details["memory"].values(), *details["disk"].values()))
    assert type(details["cpu"]["total"]) is int
    assert all(details["cpu"][name].isdigit() for name in ("user", "system", "soft_irq"))
    assert int(details["cpu"]["user"]) < details["cpu"]["total"]
    assert [type(load) for load in details["load"]] == [str] * 3
    assert all(name.startswith("eth") for name in details["networks"])
    assert details["cpu_count"] >= 1
    assert isinstance(details["active_tuned_profiles"], str)
    assert details["listeners"] == [LISTENER]
    assert (details["haproxy_count"], details["lvs_listener_process_count"]) == (0, 0)
    assert (details["active"], details["topology"], details["topology_status"], details["packages"]) == (
        True, "SINGLE", "OK", {},
    )  # fmt: skip
    assert "uuid" not in details


def test_disk_is_told_in_bytes(client):
    told, space = client.do("GET", "/1.0/details").json["disk"]["used"], os.statvfs("/")
    assert told == pytest.approx((space.f_blocks - space.f_bfree) * space.f_frsize, rel=0.1)


@pytest.mark.parametrize(
    "path", ["/nothing", "/1.0", "/1.0/", "/1.0/nothing", "/1.0/info/", "/2.0/info", "/1.0/topology"]
)
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_unknown_paths(client, method, path):
    answer = client.do(method, path)
    assert (answer.status_int, answer.json) == (404, {"error": NOT_FOUND, "http_code": 404})
    assert answer.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/"),
        ("PUT", "/1.0/info"),
        ("GET", f"/1.0/listeners/{LISTENER}"),
        ("POST", f"/1.0/loadbalancer/{LOAD_BALANCER}/haproxy"),
        ("GET", "/1.0/certificate"),
    ],
)
def test_wrong_methods(client, method, path):
    answer = client.do(method, path)
    error = "405 Method Not Allowed: The method is not allowed for the requested URL."
    assert (answer.status_int, answer.json) == (405, {"error": error, "http_code": 405})
    assert "Allow" not in answer.headers


def test_a_defect_of_ours(client, rig, monkeypatch):
    monkeypatch.setattr(type(rig.services.status), "listeners", lambda _self: 1 / 0)
    answer = client.do("GET", "/1.0/listeners")
    assert (answer.status_int, set(answer.json)) == (500, {"error", "http_code"})
    assert answer.json["error"].startswith("500 Internal Server Error: The server encountered an internal")


def test_without_a_client_certificate(client):
    answer = client.do("GET", "/1.0/info", environ={"amphora.peer_names": None})
    assert (answer.status_int, answer.json["http_code"]) == (401, 401)


def test_head_works_where_get_does(client):
    assert (client.do("HEAD", "/1.0/info").status_int, client.do("HEAD", "//").status_int) == (200, 200)


def test_keepalived_upload(client, rig):
    body = b"vrrp_instance x {}"
    answer = client.do("PUT", "/1.0/vrrp/upload", body)
    assert (answer.status_int, answer.json) == (200, {"message": "OK"})
    assert answer.headers["ETag"] == hashlib.md5(body).hexdigest()
    assert rig.vrrp.calls == [("upload", body)]


@pytest.mark.parametrize("error", [InvalidConfiguration("unknown keyword"), OperationFailed("disk full")])
def test_a_keepalived_upload_that_fails_in_the_one_way_there_is(client, rig, error):
    rig.vrrp.errors = [error]
    answer = client.do("PUT", "/1.0/vrrp/upload", b"x")
    assert answer.status_int == 500
    assert answer.json == {
        "message": "Error enabling octavia-keepalived service",
        "details": error.details,
    }


@pytest.mark.parametrize(
    ("word", "done"), [("start", "started"), ("stop", "stoped"), ("reload", "reloaded"), ("STOP", "stoped")]
)
def test_keepalived_actions(client, rig, word, done):
    answer = client.do("PUT", f"/1.0/vrrp/{word}")
    assert (answer.status_int, answer.json) == (202, {"message": "OK", "details": f"keepalived {done}"})
    rig.vrrp.errors = [VrrpActionFailed(word.lower(), "no such thing")]
    failed = client.do("PUT", f"/1.0/vrrp/{word}")
    assert failed.status_int == 500
    assert failed.json == {
        "message": f"Failed to {word.lower()} octavia-keepalived service",
        "details": "no such thing",
    }


def test_a_start_of_a_running_keepalived_is_a_reload(client, rig, monkeypatch):
    monkeypatch.setattr(rig.vrrp, "start", lambda: ActionResult(ActionKind.RELOADED))
    assert client.do("PUT", "/1.0/vrrp/start").json["details"] == "keepalived reloaded"


def test_keepalived_that_cannot_act_for_want_of_something(client, rig):
    rig.vrrp.errors = [VrrpWasGone("stop", "keepalived process not found")]
    assert client.do("PUT", "/1.0/vrrp/stop").json == {"message": "OK", "details": "keepalived stoped"}
    rig.vrrp.errors = [VrrpNotConfigured()]
    answer = client.do("PUT", "/1.0/vrrp/start")
    assert (answer.status_int, answer.json["message"]) == (500, "Failed to start octavia-keepalived service")


def test_an_unknown_keepalived_action(client):
    answer = client.do("PUT", "/1.0/vrrp/BAD_TEST_DATA")
    assert answer.status_int == 400
    assert answer.json == {"message": "Invalid Request", "details": "Unknown action: BAD_TEST_DATA"}


def test_a_new_configuration_of_the_agent(client, rig):
    rig.configuration.path.write_bytes(b"old")
    rig.configuration.path.chmod(0o640)
    answer = client.do("PUT", "/1.0/config", b"new")
    assert (answer.status_int, answer.json) == (202, {"message": "OK"})
    assert rig.configuration.taken_up == [b"new"]
    assert rig.configuration.path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("body", "errors", "words"),
    [
        (b"BROKEN", [], "amphora-agent.conf: BROKEN is no option"),
        (b"new", [ConfigurationError("/nowhere.pem: no such file")], "/nowhere.pem"),
    ],
)
def test_a_configuration_that_cannot_be_used_leaves_the_former(client, rig, body, errors, words):
    rig.configuration.path.write_bytes(b"old")
    rig.configuration.errors = errors
    answer = client.do("PUT", "/1.0/config", body)
    assert answer.status_int == 500
    assert answer.json["message"] == "Unable to update amphora-agent configuration."
    assert words in answer.json["details"]
    assert ".new" not in answer.json["details"]
    assert rig.configuration.path.read_bytes() == b"old"
    assert rig.configuration.taken_up in ([], [b"old"])
    assert sorted(path.name for path in rig.configuration.path.parent.glob("*.conf*")) == [
        "amphora-agent.conf"
    ]
