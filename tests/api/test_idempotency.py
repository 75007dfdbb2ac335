# SPDX-License-Identifier: Apache-2.0
"""Requests with an ``Idempotency-Key``: done once, answered as often as they come."""

import json
import threading
import time

import pytest

from amphora.api.app import make_app
from amphora.core.changes.expected import etag_of
from amphora.core.changes.idempotency_store import IdempotencyStore
from amphora.errors import ServiceError
from tests.api.conftest import CONFIGURATION, LISTENER, Client
from tests.support.core import AMPHORA_ID
from tests.support.load_balancers import MAC, VIP

UPLOAD = f"/v0.1/listeners/{AMPHORA_ID}/{LISTENER}/haproxy"
UPLOAD_1_0 = f"/1.0/loadbalancer/{AMPHORA_ID}/{LISTENER}/haproxy"
ONE = f"/v0.1/listeners/{LISTENER}"
OTHER = CONFIGURATION.replace(b":80", b":81")


def told(answer):
    """What must be the same in each answer to the same request."""
    headers = {name: value for name, value in answer.headers.items() if name != "X-Request-ID"}
    return answer.status_int, headers, answer.body


def in_threads(count, call):
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(call())) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads, answers


def joined(threads):
    for thread in threads:
        thread.join(60)
    return not any(thread.is_alive() for thread in threads)


def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def count_uploads(rig):
    return rig.engine.steps.count("stage")


@pytest.mark.parametrize(("path", "status"), [(UPLOAD, 201), (UPLOAD_1_0, 202)])
def test_a_repetition_is_answered_and_not_done(client, rig, path, status):
    first = client.do("PUT", path, CONFIGURATION, Idempotency_Key="k")
    assert first.status_int == status
    client.do("PUT", path, OTHER)
    again = client.do("PUT", path, CONFIGURATION, Idempotency_Key="k")
    assert told(again) == told(first)
    assert again.headers["X-Request-ID"] != first.headers["X-Request-ID"]
    assert rig.haproxy(LISTENER).configuration() == OTHER


def test_post_and_delete_too(client, rig):
    rig.network.wires.plug(MAC)
    for _ in range(2):
        # Without a key the second is a 409.
        headers = {"Content_Type": "application/json", "Idempotency_Key": "plug"}
        plugged = client.do("POST", "/1.0/plug/vip/203.0.113.2", json.dumps(VIP).encode(), **headers)
        assert plugged.status_int == 202
    client.upload()
    for _ in range(2):
        # Without a key the second is a 404.
        assert client.do("DELETE", ONE, Idempotency_Key="delete").status_int == 200


def test_refusals_are_remembered_and_failures_are_not(client, rig):
    refused = client.do("PUT", f"{ONE}/start", Idempotency_Key="refused")
    assert refused.status_int == 404
    client.upload()
    assert told(client.do("PUT", f"{ONE}/start", Idempotency_Key="refused")) == told(refused)
    rig.engine.fail_at["start"] = [ServiceError("no")]
    assert client.do("PUT", f"{ONE}/start", Idempotency_Key="failed").status_int == 500
    assert client.do("PUT", f"{ONE}/start", Idempotency_Key="failed").status_int == 202


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", UPLOAD, OTHER),
        ("PUT", UPLOAD + "?x=1", CONFIGURATION),
        ("PUT", UPLOAD_1_0, CONFIGURATION),
        ("POST", UPLOAD, CONFIGURATION),
        ("DELETE", ONE, b""),
    ],
)
def test_a_key_of_another_request_is_409_and_nothing_is_done(client, rig, method, path, body):
    client.do("PUT", UPLOAD, CONFIGURATION, Idempotency_Key="k")
    answer = client.do(method, path, body, Idempotency_Key="k")
    assert answer.status_int == 409
    assert answer.json["message"] == "Idempotency key in use for another request"
    assert rig.haproxy(LISTENER).configuration() == CONFIGURATION


def test_the_same_change_on_another_condition_is_another_request(client, rig):
    client.do("PUT", UPLOAD, CONFIGURATION)
    first = client.do("PUT", UPLOAD, OTHER, Idempotency_Key="k", If_Match=etag_of(OTHER))
    assert first.status_int == 412
    assert client.do("PUT", UPLOAD, OTHER, Idempotency_Key="k", If_Match="*").status_int == 409
    assert rig.haproxy(LISTENER).configuration() == CONFIGURATION
    assert told(client.do("PUT", UPLOAD, OTHER, Idempotency_Key="k", If_Match=etag_of(OTHER))) == told(first)


@pytest.mark.parametrize("key", ["", "two words", "\x7f", "ä", "k" * 256])
def test_a_malformed_key_is_400_and_nothing_is_done(client, rig, key):
    assert client.do("PUT", UPLOAD, CONFIGURATION, Idempotency_Key=key).status_int == 400
    assert count_uploads(rig) == 0


def test_the_longest_key_is_taken(client):
    for _ in range(2):
        assert client.do("PUT", UPLOAD, CONFIGURATION, Idempotency_Key="~" * 255).status_int == 201


def test_reading_takes_no_notice_of_keys(client):
    client.upload()
    client.do("GET", ONE, Idempotency_Key="k")
    client.do("DELETE", ONE)
    assert client.do("GET", ONE, Idempotency_Key="k").status_int == 404


def test_who_may_not_use_the_api_gets_no_stored_answer(client, rig):
    client.do("PUT", UPLOAD, CONFIGURATION, Idempotency_Key="k")
    stranger = Client(make_app(rig.services, ["controller"]), extra_environ={"amphora.peer_names": ("x",)})
    assert stranger.do("PUT", UPLOAD, CONFIGURATION, Idempotency_Key="k").status_int == 401


def test_repetitions_wait_for_the_first_and_get_its_answer(client, rig):
    rig.vrrp.may_go_on.clear()
    threads, answers = in_threads(6, lambda: client.do("PUT", "/v0.1/vrrp/reload", Idempotency_Key="k"))
    wait_until(lambda: rig.vrrp.calls)
    assert client.do("PUT", "/v0.1/vrrp/start", Idempotency_Key="k").status_int == 409
    rig.vrrp.may_go_on.set()
    assert joined(threads)
    assert [told(answer) for answer in answers] == [told(answers[0])] * 6
    assert answers[0].status_int == 202
    assert rig.vrrp.calls == [("reload",)]


def test_an_agent_that_starts_again_knows_its_answers(client, rig):
    first = client.do("PUT", UPLOAD, CONFIGURATION, Idempotency_Key="k")
    object.__setattr__(rig.services, "idempotency_store", IdempotencyStore(rig.base_path / "answers"))
    rig.services.idempotency_store.recover()
    restarted = Client(make_app(rig.services, []), extra_environ={"amphora.peer_names": ("controller",)})
    assert told(restarted.do("PUT", UPLOAD, CONFIGURATION, Idempotency_Key="k")) == told(first)
    assert restarted.do("PUT", UPLOAD, OTHER, Idempotency_Key="k").status_int == 409
    assert count_uploads(rig) == 1


def test_neither_keys_nor_bodies_are_stored(client, rig, pki):
    client.upload()
    leaf = pki.server("example")
    body = leaf.path.read_bytes()
    answer = client.do("PUT", f"{ONE}/certificates/example.pem", body, Idempotency_Key="my-own-key")
    assert answer.status_int == 201
    (stored,) = (rig.base_path / "answers").iterdir()
    assert stored.stat().st_mode & 0o777 == 0o600
    text = f"{stored.name} {stored.read_text()}"
    assert "my-own-key" not in text
    assert not any(line in text for line in body.decode().splitlines() if line)
