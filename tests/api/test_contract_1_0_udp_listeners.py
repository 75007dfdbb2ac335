# SPDX-License-Identifier: Apache-2.0
"""UDP and SCTP listeners under /1.0: upload, download, actions, list and delete."""

import hashlib

import pytest

from amphora.errors import OperationFailed, ProofFailed, ServiceError
from tests.support.load_balancers import AMPHORA, LOAD_BALANCER, backend, frontend, global_section
from tests.support.load_balancers import LISTENER as TCP_LISTENER
from tests.support.lvs import LISTENER, with_members

CONFIGURATION = with_members(1, 2)
UPLOAD = f"/1.0/listeners/{AMPHORA}/{LISTENER}/udp_listener"
STORED = f"/1.0/listeners/{LISTENER}/udp_listener"
ONE = f"/1.0/loadbalancer/{LISTENER}"
OK = {"message": "OK"}
UNKNOWN = {"message": "UDP Listener Not Found", "details": f"No UDP listener with UUID: {LISTENER}"}


@pytest.fixture
def uploaded(client):
    assert client.do("PUT", UPLOAD, CONFIGURATION).status_int == 200


def test_an_upload_is_named_by_the_digest_of_what_came_and_starts_nothing(client, rig):
    for _ in range(2):
        answer = client.do("PUT", UPLOAD, CONFIGURATION)
        assert (answer.status_int, answer.json) == (200, OK)
        assert answer.headers["ETag"] == hashlib.md5(CONFIGURATION).hexdigest()
    assert not rig.processes.machine.specs


def test_a_download_is_what_came_byte_for_byte_without_a_digest(client):
    data = CONFIGURATION + b"# \xc3\xa9 \t\r\n# no final newline"
    client.do("PUT", UPLOAD, data)
    answer = client.do("GET", STORED)
    assert (answer.status_int, answer.body) == (200, data)
    assert answer.headers["Content-Type"] == "text/plain; charset=UTF-8"
    assert "ETag" not in answer.headers


def test_what_is_not_known(client):
    answer = client.do("GET", STORED)
    assert (answer.status_int, answer.json) == (404, UNKNOWN)
    # An id that nothing is stored of is taken for a load balancer's.
    answer = client.do("PUT", f"{ONE}/start")
    assert (answer.status_int, answer.json["message"]) == (404, "Loadbalancer Not Found")
    for _ in range(2):
        answer = client.do("DELETE", f"/1.0/listeners/{LISTENER}")
        assert (answer.status_int, answer.json) == (200, OK)


def test_an_lvs_configuration_is_checked_before_it_replaces_the_live_one(client, uploaded):
    answer = client.do("PUT", UPLOAD, CONFIGURATION + b"BAD_LINE\n")
    assert (answer.status_int, answer.json["message"]) == (400, "Invalid request")
    assert "Unknown keyword 'BAD_LINE'" in answer.json["details"]
    assert client.do("GET", STORED).body == CONFIGURATION


def test_an_upload_that_cannot_be_stored(client, rig, monkeypatch):
    def fail(*_arguments):
        raise OperationFailed("the disk is full")

    monkeypatch.setattr(rig.engine, "step", fail)
    answer = client.do("PUT", UPLOAD, CONFIGURATION)
    assert (answer.status_int, answer.json) == (
        500,
        {
            "message": "Error enabling octavia-keepalivedlvs service",
            "details": "the disk is full\nNothing is stored, as before.",
        },
    )


def test_actions_twice_each(client, uploaded):
    for word, done in (("start", "started"), ("reload", "restarted"), ("STOP", "stoped")):
        for _ in range(2):
            answer = client.do("PUT", f"{ONE}/{word}")
            assert (answer.status_int, answer.json) == (
                202,
                OK | {"details": f"keepalivedlvs listener {LISTENER} {done}"},
            )


def test_an_unknown_action_comes_before_an_unknown_object(client):
    answer = client.do("PUT", f"{ONE}/explode")
    assert (answer.status_int, answer.json) == (
        400,
        {"message": "Invalid Request", "details": "Unknown action: explode"},
    )


@pytest.mark.parametrize(("word", "verb"), [("start", "start"), ("reload", "restart")])
def test_what_does_not_run_is_told_with_keepalivds_words(client, rig, uploaded, word, verb):
    rig.engine.fail_at["prove"] = [ProofFailed("IPVS: Can't initialize ipvs")]
    answer = client.do("PUT", f"{ONE}/{word}")
    assert (answer.status_int, answer.json["message"]) == (
        500,
        f"Failed to {verb} keepalivedlvs listener {LISTENER}",
    )
    assert "IPVS: Can't initialize ipvs" in answer.json["details"]


def test_what_cannot_be_stopped(client, rig, uploaded):
    client.do("PUT", f"{ONE}/start")
    rig.processes.fail_next("stop", ServiceError("survived"))
    answer = client.do("PUT", f"{ONE}/stop")
    assert (answer.status_int, answer.json) == (
        500,
        {
            "message": f"Failed to stop keepalivedlvs listener {LISTENER}",
            "details": "survived\nkeepalived goes on as it was.",
        },
    )
    rig.processes.fail_next("remove", ServiceError("survived"))
    answer = client.do("DELETE", f"/1.0/listeners/{LISTENER}")
    assert (answer.status_int, answer.json) == (
        500,
        {"message": "Error stopping keepalivedlvs", "details": "survived\nkeepalived goes on as it was."},
    )


def test_an_lvs_listener_with_only_some_pid_files_left_is_deleted(client, rig, uploaded):
    client.do("PUT", f"{ONE}/start")
    rig.lvs(LISTENER).files.pid_files.vrrp.write_text("1\n")
    for _ in range(2):
        answer = client.do("DELETE", f"/1.0/listeners/{LISTENER}")
        assert (answer.status_int, answer.json) == (200, OK)
    assert client.do("GET", STORED).status_int == 404
    assert [path.name for path in rig.lvs_directory.path.iterdir()] == ["check"]


def test_listeners_of_both_engines_are_listed(client, uploaded):
    path = f"/1.0/loadbalancer/{AMPHORA}/{LOAD_BALANCER}/haproxy"
    data = global_section() + frontend(TCP_LISTENER, ["203.0.113.2:80"]) + backend(TCP_LISTENER, 8080)
    assert client.do("PUT", path, data.encode()).status_int == 202
    listed = {each["uuid"]: each for each in client.do("GET", "/1.0/listeners").json}
    assert set(listed) == {LISTENER, TCP_LISTENER}
    assert listed[LISTENER] == {"status": "OFFLINE", "uuid": LISTENER, "type": "UDP"}
    details = client.do("GET", "/1.0/details").json
    assert details["listeners"] == sorted([LISTENER, TCP_LISTENER])
    assert (details["lvs_listener_process_count"], details["haproxy_count"]) == (0, 0)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("PUT", STORED, 405),
        ("GET", UPLOAD, 405),
        ("GET", f"/1.0/listeners/{AMPHORA}/{LISTENER}", 404),
        ("PUT", f"/1.0/listeners/{AMPHORA}/{LISTENER}/tcp_listener", 404),
        ("GET", f"/1.0/listeners/{LISTENER}", 405),
        ("PUT", f"/1.0/listeners/{AMPHORA}/no-uuid/udp_listener", 400),
        ("PUT", f"/1.0/listeners/no-uuid/{LISTENER}/udp_listener", 400),
        ("GET", "/1.0/listeners/no-uuid/udp_listener", 400),
    ],
)
def test_paths_and_methods_that_are_none(client, method, path, status):
    assert client.do(method, path, CONFIGURATION if method == "PUT" else b"").status_int == status
