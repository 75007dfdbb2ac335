# SPDX-License-Identifier: Apache-2.0
import ast
import inspect
import logging
from pathlib import Path

import pytest

from amphora import errors
from amphora.api import errors as api_errors
from amphora.api.app import make_app
from tests.api.conftest import Client

STATUSES_CONTROLLERS_UNDERSTAND = {400, 401, 403, 404, 405, 409, 500, 503}


def test_no_client_certificate_is_401(rig):
    answer = Client(make_app(rig.services, [])).do("GET", "/info")
    assert (answer.status_int, answer.json["message"]) == (401, "Unauthorized")


@pytest.mark.parametrize(
    ("names", "status"), [(("controller",), 200), (("other", "worker-1"), 200), (("other",), 401), ((), 401)]
)
def test_only_allowed_names_may_use_the_api(rig, names, status):
    app = make_app(rig.services, ["controller", "worker-1"])
    assert Client(app, extra_environ={"amphora.peer_names": names}).do("GET", "/info").status_int == status


def test_only_statuses_that_controllers_understand_leave():
    # Controllers send no If-Match, so they never get the other one.
    assert api_errors.statuses() <= STATUSES_CONTROLLERS_UNDERSTAND | {412}


def domain_errors():
    return [
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.AmphoraError)
    ]


def test_every_domain_error_of_a_request_has_a_row():
    rows = [kind for kind, *_ in api_errors._TABLE]
    for kind in domain_errors():
        # A start-up error ends the agent before it serves anything.
        if kind is not errors.AmphoraError and not issubclass(kind, errors.StartupError):
            assert any(issubclass(kind, row) for row in rows), kind


def test_rows_stand_before_those_of_their_base_classes():
    rows = [kind for kind, *_ in api_errors._TABLE]
    for position, kind in enumerate(rows):
        assert not any(issubclass(kind, earlier) for earlier in rows[:position]), kind


def test_a_defect_is_a_json_500_with_nothing_of_it_inside(rig, client, monkeypatch, caplog):
    monkeypatch.setattr(type(rig.services.status), "all", lambda _self: 1 / 0)
    answer = client.do("GET", "/v0.1/listeners")
    assert answer.status_int == 500
    assert "division" not in answer.text
    assert "ZeroDivisionError" in caplog.text


def test_each_request_has_an_id_of_its_own_in_answer_and_log(client, caplog):
    with caplog.at_level(logging.INFO):
        ids = {client.do("GET", "/info").headers["X-Request-ID"] for _ in range(3)}
    assert len(ids) == 3


def test_busy_says_when_to_come_back():
    answer = api_errors.error_response(errors.Busy("later"))
    assert (answer.status_int, answer.headers["Retry-After"]) == (503, "5")


def test_no_error_is_raised_with_a_status_of_its_own():
    for path in Path(errors.__file__).parent.rglob("*.py"):
        tree = ast.parse(path.read_text())
        numbers = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        if "api" not in path.parts and "server" not in path.parts:
            assert not numbers & {401, 403, 404, 405, 503}, path
