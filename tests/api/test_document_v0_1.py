# SPDX-License-Identifier: Apache-2.0
"""Every example of the document for the operations that are served, request by request."""

import hashlib

import pytest

from tests.api.conftest import CONFIGURATION, LISTENER
from tests.support.core import AMPHORA_ID

LISTENERS = "/v0.1/listeners"
ONE = f"{LISTENERS}/{LISTENER}"
CERTIFICATE = f"{ONE}/certificates/www.example.com.pem"

NO_LISTENER = {"message": "Listener Not Found", "details": f"No listener with UUID: {LISTENER}"}


@pytest.mark.parametrize("path", ["/info", "/v0.1/info", "/0.5/info"])
def test_info(client, path):
    answer = client.do("GET", path)
    assert answer.status_int == 200
    assert answer.json.pop("hostname")
    assert answer.json == {
        "hostname": answer.json["hostname"],
        "uuid": AMPHORA_ID,
        "haproxy_version": "2.6.12-1",
        "api_version": "0.1",
    }


@pytest.mark.parametrize("path", ["/", "//"])
def test_discovery(client, path):
    assert client.do("GET", path).json == {"api_version": "1.0"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ONE),
        ("DELETE", ONE),
        ("GET", f"{ONE}/haproxy"),
        ("PUT", f"{ONE}/start"),
        ("PUT", f"{ONE}/stop"),
        ("PUT", f"{ONE}/reload"),
        ("GET", CERTIFICATE),
        ("DELETE", CERTIFICATE),
    ],
)
def test_an_unknown_listener(client, method, path):
    answer = client.do(method, path)
    assert (answer.status_int, answer.json) == (404, NO_LISTENER)


def test_a_certificate_for_an_unknown_listener(client, pki):
    answer = client.do("PUT", CERTIFICATE, pki.server("www.example.com").path.read_bytes())
    assert (answer.status_int, answer.json) == (404, NO_LISTENER)


def test_no_listeners(client):
    answer = client.do("GET", LISTENERS)
    assert (answer.status_int, answer.json) == (200, [])


def test_upload_and_get_back_byte_for_byte(client):
    body = CONFIGURATION + b"# \xc3\xa9 \t trailing blanks  \r\n\n# no final newline"
    answer = client.upload(body)
    assert answer.status_int == 201
    assert answer.json == {"message": "OK", "details": "Configuration file is valid"}
    got = client.do("GET", f"{ONE}/haproxy")
    assert got.status_int == 200
    assert got.content_type == "text/plain"
    assert got.body == body


def test_upload_of_an_invalid_configuration(client):
    client.upload()
    answer = client.upload(b"frontend x\n    bind :80\nBAD_LINE\n")
    assert answer.status_int == 400
    assert answer.json["message"] == "Invalid request"
    assert "[haproxy.cfg:3]: unknown keyword 'BAD_LINE'" in answer.json["details"]
    assert client.do("GET", f"{ONE}/haproxy").body == CONFIGURATION


def test_an_invalid_first_upload_leaves_no_listener(client, rig):
    assert client.upload(b"frontend x\nBAD_LINE\n").status_int == 400
    assert client.do("GET", LISTENERS).json == []
    assert not rig.directory.files(LISTENER).directory.exists()


def test_start_reload_and_stop(client):
    client.upload()
    started = client.do("PUT", f"{ONE}/start")
    assert started.status_int == 202
    assert started.json == {
        "message": "OK",
        "details": f"Configuration file is valid\nhaproxy daemon for {LISTENER} started (pid 1000)\n"
        "worker 2 of master 1000 serves after 0.01 s; reloads: 1; frontends open: 0; old workers: 0",
    }
    reloaded = client.do("PUT", f"{ONE}/reload")
    assert reloaded.status_int == 202
    assert "reloaded (pid 1000)" in reloaded.json["details"]
    stopped = client.do("PUT", f"{ONE}/stop")
    assert (stopped.status_int, stopped.json["details"]) == (202, f"haproxy daemon for {LISTENER} stopped")


def test_repeated_actions_change_nothing_and_say_so(client):
    client.upload()
    assert "already stopped" in client.do("PUT", f"{ONE}/stop").json["details"]
    client.do("PUT", f"{ONE}/start")
    again = client.do("PUT", f"{ONE}/start")
    assert again.status_int == 202
    assert "already runs (pid 1000); nothing was changed" in again.json["details"]


def test_reload_of_a_stopped_listener_starts_it(client):
    client.upload()
    assert "started (pid 1000)" in client.do("PUT", f"{ONE}/reload").json["details"]


def test_stop_when_the_process_has_gone(client, rig):
    client.upload()
    client.do("PUT", f"{ONE}/start")
    layout = rig.directory.files(LISTENER)
    layout.pid_file.write_text("3352\n")
    spec = rig.processes.machine.specs[layout.service_name]
    rig.processes.machine.specs[layout.service_name] = _never_restarted(spec)
    rig.processes.crash(layout.service_name)
    assert client.do("GET", ONE).json["status"] == "ERROR"
    answer = client.do("PUT", f"{ONE}/stop")
    assert answer.status_int == 500
    assert answer.json == {
        "message": "Error stopping haproxy",
        "details": "haproxy process with PID 3352 not found",
    }
    assert client.do("PUT", f"{ONE}/stop").status_int == 202


def _never_restarted(spec):
    from dataclasses import replace

    return replace(spec, restart=replace(spec.restart, on_crash=False))


@pytest.mark.parametrize("word", ["BAD_TEST_DATA", "haproxy", "restart"])
def test_an_unknown_action(client, word):
    answer = client.do("PUT", f"{ONE}/{word}")
    assert answer.status_int == 400
    assert answer.json == {"message": "Invalid Request", "details": f"Unknown action: {word}"}


def test_status_of_a_stopped_listener(client):
    client.upload()
    assert client.do("GET", LISTENERS).json == [{"status": "STOPPED", "uuid": LISTENER, "type": "HTTP"}]
    answer = client.do("GET", ONE)
    assert answer.json == {
        "status": "STOPPED",
        "uuid": LISTENER,
        "type": "HTTP",
        "pools": [
            {
                "uuid": "399bbf4b-5f6c-4370-a61e-ed2ff2fc9387",
                "status": "DOWN",
                "members": [{"73f6d278-ae1c-4248-ad02-0bfd50d69aab": "DOWN"}],
            }
        ],
    }


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        ("mode tcp\nbind :443", "TCP"),
        ("mode http\nbind :80", "HTTP"),
        ("mode http\nbind :443 ssl crt /x", "TERMINATED_HTTPS"),
    ],
)
def test_types(client, lines, kind):
    client.upload(f"frontend x\n{lines}\n".encode())
    assert client.do("GET", ONE).json["type"] == kind


def test_delete_removes_everything(client, rig, pki):
    client.upload()
    client.do("PUT", f"{ONE}/start")
    client.do("PUT", CERTIFICATE, pki.server("www.example.com").path.read_bytes())
    answer = client.do("DELETE", ONE)
    assert (answer.status_int, answer.json) == (200, {"message": "OK"})
    assert not rig.cert_store.directory(LISTENER).exists()
    assert rig.processes.machine.specs == {}
    assert not rig.directory.files(LISTENER).directory.exists()
    assert client.do("DELETE", ONE).status_int == 404


def test_certificate_upload_digest_and_removal(client, pki):
    client.upload()
    body = pki.server("www.example.com").path.read_bytes()
    stored = client.do("PUT", CERTIFICATE, body)
    assert (stored.status_int, stored.json) == (201, {"message": "OK"})
    digest = client.do("GET", CERTIFICATE)
    assert digest.json == {"md5sum": hashlib.md5(body).hexdigest()}
    removed = client.do("DELETE", CERTIFICATE)
    assert (removed.status_int, removed.json) == (200, {"message": "OK"})
    for method in ("GET", "DELETE"):
        answer = client.do(method, CERTIFICATE)
        assert answer.status_int == 404
        assert answer.json == {
            "message": "Certificate Not Found",
            "details": "No certificate with file name: www.example.com.pem",
        }


def test_unusable_certificates(client, pki):
    client.upload()
    leaf, other = pki.server("www.example.com"), pki.server("other")
    for body, message in (
        (leaf.key_pem, "No certificate found"),
        (leaf.certificate_pem, "No RSA key found"),
        (leaf.certificate_pem + other.key_pem, "Certificate and key do not match"),
    ):
        answer = client.do("PUT", CERTIFICATE, body)
        assert (answer.status_int, answer.json) == (400, {"message": message})
    assert client.do("GET", CERTIFICATE).status_int == 404


def test_legacy_controllers_upload_certificates_first(client, pki):
    path = CERTIFICATE.replace("v0.1", "0.5")
    assert client.do("PUT", path, pki.server("www.example.com").path.read_bytes()).status_int == 201
    assert client.do("GET", path).status_int == 200
