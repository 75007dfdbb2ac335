# SPDX-License-Identifier: Apache-2.0
"""What is told beyond any version of the API."""

import threading
import time

import pytest

from amphora.core.changes.journal import Operation, OperationState, StepRecord
from amphora.errors import OperationFailed
from amphora.models import InterfaceConfig
from tests.api.conftest import CONFIGURATION, LISTENER

MAC = "fa:16:3e:00:00:01"
OTHER = "00000000-0000-4000-8000-000000000000"
AREAS = (
    "configs",
    "certificates",
    "links",
    "addresses",
    "routes",
    "rules",
    "packet-filter",
    "services",
    "vip",
)


@pytest.fixture
def running(client):
    assert client.upload().status_int == 201
    assert client.do("PUT", f"/v0.1/listeners/{LISTENER}/start").status_int == 202


def drift(client):
    response = client.do("GET", "/extensions/drift")
    assert response.status_int == 200
    return response.json


def test_before_the_first_look_nothing_is_known(client):
    answer = drift(client)
    assert answer["checked_at"] is None
    assert (answer["drift"], answer["pending"], answer["unchecked"]) == ([], [], [])
    assert answer["areas"] == dict.fromkeys(AREAS, 0)
    assert answer["healing"]["vip"] == {"policy": "report", "done": 0, "failed": 0}


def test_drift_is_told_with_area_object_reason_and_both_sides(client, rig):
    rig.network.persist(InterfaceConfig("eth1", MAC))
    rig.services.drift.check()
    answer = drift(client)
    (told,) = answer["drift"]
    assert told.pop("since").endswith("Z")
    assert told == {
        "area": "links",
        "object": "eth1",
        "reason": "link-missing",
        "desired": f"eth1 {MAC}",
        "found": "absent",
    }
    assert answer["areas"] == dict.fromkeys(AREAS, 0) | {"links": 1}
    assert answer["checked_at"].endswith("Z")


def test_what_cannot_be_found_out_is_told(client, rig):
    rig.network.fail_next("differences", OperationFailed("netlink is out of order"))
    rig.services.drift.check()
    unchecked = {"object": "interfaces of interfaces", "why": "netlink is out of order"}
    assert unchecked in drift(client)["unchecked"]


def test_upload_that_waits_for_its_start_is_pending(client, rig):
    client.upload()
    rig.services.drift.check()
    (told,) = drift(client)["pending"]
    assert (told["area"], told["object"], told["reason"]) == ("configs", LISTENER, "pending-start")
    assert drift(client)["drift"] == []


def test_edited_configuration_is_told_though_another_upload_is_not(client, rig, running):
    rig.services.drift.check()
    client.upload(CONFIGURATION + b"# by the controller\n")
    rig.services.drift.check()
    assert [each["reason"] for each in drift(client)["pending"]] == ["pending-reload"]
    path = rig.directory.files(LISTENER).stored
    path.write_bytes(CONFIGURATION + b"# by hand\n")
    rig.services.drift.check()
    assert "stored-edited" in {each["reason"] for each in drift(client)["drift"]}


def test_nobody_waits_for_a_look_that_hangs(client, rig):
    goes_on = threading.Event()
    rig.network.differences = lambda: goes_on.wait(20) and ()
    look = threading.Thread(target=rig.services.drift.check)
    look.start()
    try:
        began = time.monotonic()
        assert client.do("GET", "/extensions/drift?now=1").json["checked_at"] is None
        # The look takes 20 s; anything much below shows that nobody waited.
        assert time.monotonic() - began < 5
    finally:
        goes_on.set()
        look.join()


READ_ONLY = ("drift", "instances", "instances/x", "metrics", "operations", "operations/x")


@pytest.mark.parametrize("path", READ_ONLY)
def test_extensions_are_read_only(client, path):
    for method in ("PUT", "POST", "DELETE"):
        response = client.do(method, f"/extensions/{path}")
        assert response.status_int == 405
        assert response.headers["Allow"] == "GET"


@pytest.mark.parametrize("path", ["", "/nothing", "/drift/links", "/operations/x/steps", "/metrics/x"])
def test_what_is_not_there_is_not_found(client, path):
    assert client.do("GET", f"/extensions{path}").status_int == 404


def test_unknown_operation_is_not_found(client):
    response = client.do("GET", "/extensions/operations/00000000-0000-4000-8000-000000000000")
    assert response.status_int == 404
    assert "00000000-0000-4000-8000-000000000000" in response.json["details"]


def test_operations_tell_what_was_done_in_which_steps(client, running):
    operations = client.do("GET", "/extensions/operations").json["operations"]
    start = next(each for each in operations if each["kind"] == "start")
    assert (start["target"], start["state"], start["reason"]) == (LISTENER, "done", "")
    assert [step["name"] for step in start["steps"]][-3:] == ["apply", "prove", "commit"]
    assert all(step["seconds"] >= 0 for step in start["steps"])
    assert start["began"].endswith("Z")
    assert client.do("GET", f"/extensions/operations/{start['id']}").json == start


def test_operation_that_was_cut_off_has_a_step_without_an_end(client, rig):
    operation = Operation("an-id", "reload", LISTENER, 0.25, state=OperationState.FAILED)
    operation.steps.append(StepRecord("apply"))
    rig.operations._remember(operation)
    answer = client.do("GET", "/extensions/operations/an-id").json
    assert answer["steps"] == [{"name": "apply", "seconds": None}]
    assert (answer["began"], answer["state"]) == ("1970-01-01T00:00:00.250Z", "failed")


def test_before_any_upload_there_is_no_instance(client):
    assert client.do("GET", "/extensions/instances").json == {"instances": []}


def test_stored_instance_is_told_with_its_last_operation(client):
    client.upload()
    (operation,) = client.do("GET", "/extensions/operations").json["operations"]
    (told,) = client.do("GET", "/extensions/instances").json["instances"]
    assert told == {
        "id": LISTENER,
        "state": "absent",
        "master": None,
        "worker": None,
        "old_worker_count": 0,
        "old_workers": [],
        "limits": {"hard-stop-after": None, "mworker-max-reloads": None, "haproxy_max_old_workers": None},
        "last_operation": operation,
    }
    assert client.do("GET", f"/extensions/instances/{LISTENER.upper()}").json == told


def test_running_instance_says_so(client, running):
    told = client.do("GET", f"/extensions/instances/{LISTENER}").json
    assert (told["state"], told["last_operation"]["kind"]) == ("running", "start")


@pytest.mark.parametrize("unknown", [OTHER, "x", "..", "operations"])
def test_unknown_instance_is_not_found_in_json(client, unknown):
    client.upload()
    response = client.do("GET", f"/extensions/instances/{unknown}")
    assert (response.status_int, response.json["message"]) == (404, "Not Found")


def metrics(client):
    """Return the samples by their name and labels, after checking the form of all lines."""
    response = client.do("GET", "/extensions/metrics")
    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert response.text.endswith("\n")
    samples, described = {}, set()
    for line in response.text.splitlines():
        if line.startswith("# HELP "):
            described.add(line.split()[2])
        elif not line.startswith("# TYPE "):
            name, value = line.rsplit(" ", 1)
            assert name.partition("{")[0] in described
            samples[name] = float(value)
    return samples


def test_metrics_tell_of_drift_by_area_and_of_healing(client, rig):
    assert "amphora_agent_drift_last_look_timestamp_seconds" not in metrics(client)
    rig.network.persist(InterfaceConfig("eth1", MAC))
    rig.services.drift.check()
    told = metrics(client)
    assert told['amphora_agent_drift_differences{area="links"}'] == 1
    assert told['amphora_agent_drift_differences{area="vip"}'] == 0
    assert told["amphora_agent_drift_last_look_timestamp_seconds"] == pytest.approx(time.time(), abs=60)
    rig.services.drift._healed["vip"], rig.services.drift._failed["vip"] = 3, 2
    told = metrics(client)
    assert told['amphora_agent_drift_healing_attempts_total{group="vip"}'] == 5
    assert told['amphora_agent_drift_healing_failures_total{group="vip"}'] == 2


def test_metrics_tell_of_operations_workers_and_the_agent(client, running):
    told = metrics(client)
    assert told['amphora_agent_operations{kind="upload",state="done"}'] == 1
    assert told['amphora_agent_operations{kind="start",state="done"}'] == 1
    assert told[f'amphora_agent_haproxy_workers{{instance_id="{LISTENER}",generation="old"}}'] == 0
    assert 0 < told["process_open_fds"] < told["process_max_fds"]
    assert told["process_start_time_seconds"] < time.time()
    (info,) = (name for name in told if name.startswith("amphora_agent_build_info{version="))
    assert told[info] == 1


def test_metrics_are_for_clients_with_a_certificate_only(client):
    response = client.do("GET", "/extensions/metrics", environ={"amphora.peer_names": None})
    assert response.status_int == 401
