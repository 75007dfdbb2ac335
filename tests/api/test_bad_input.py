# SPDX-License-Identifier: Apache-2.0
"""Bad input is a clear 4xx: never a 500, never a file elsewhere, never a lost old version."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from amphora.api.app import make_app
from tests.api.conftest import CONFIGURATION, LISTENER, Client
from tests.support.core import AMPHORA_ID

ONE = f"/v0.1/listeners/{LISTENER}"
UPLOAD = f"/v0.1/listeners/{AMPHORA_ID}/{LISTENER}/haproxy"

NOT_UUIDS = ["x", "..", "%2e%2e", LISTENER[:-1], f"{LISTENER}0", LISTENER.replace("-", ""), f"{{{LISTENER}}}"]


@pytest.mark.parametrize("bad", NOT_UUIDS)
@pytest.mark.parametrize(
    ("method", "path", "parameter"),
    [
        ("GET", "/v0.1/listeners/{}", "listener"),
        ("DELETE", "/v0.1/listeners/{}", "listener"),
        ("GET", "/v0.1/listeners/{}/haproxy", "listener"),
        ("PUT", "/v0.1/listeners/{}/start", "listener"),
        ("GET", "/v0.1/listeners/{}/certificates/a.pem", "listener"),
        ("PUT", f"/v0.1/listeners/{{}}/{LISTENER}/haproxy", "amphora_id"),
        ("PUT", f"/v0.1/listeners/{AMPHORA_ID}/{{}}/haproxy", "listener"),
    ],
)
def test_an_id_that_is_no_uuid_names_the_parameter(client, method, path, parameter, bad):
    answer = client.do(method, path.format(bad), CONFIGURATION if method == "PUT" else b"")
    assert answer.status_int == 400
    assert answer.json["message"] == "Invalid request"
    assert answer.json["details"].startswith(f"{parameter} is not a UUID")


def test_ids_are_accepted_in_any_case_and_kept_in_lower_case(client):
    assert client.upload(listener=LISTENER.upper()).status_int == 201
    assert client.do("GET", "/v0.1/listeners").json[0]["uuid"] == LISTENER


@pytest.mark.parametrize(
    "path",
    [
        "/v0.1/listeners/..%2f..%2fetc",
        f"{ONE}/certificates/..%2F..%2Fa.pem",
        f"{ONE}/certificates/a%00.pem",
        f"{ONE}/certificates/a%0a.pem",
        f"{ONE}/certificates/%ff.pem",
    ],
)
def test_paths_that_try_to_leave_are_refused(client, pki, path):
    client.upload()
    for method in ("GET", "PUT", "DELETE"):
        # The server hands on the path as it was sent; WebTest has only the decoded form of it.
        body = pki.server("a").path.read_bytes() if method == "PUT" else b""
        answer = client.do(method, "/", body, environ={"amphora.raw_path": path})
        assert (answer.status_int, answer.json["message"]) == (400, "Invalid request")


BAD_NAMES = [
    "a.crt", "pem", ".pem", "-a.pem", "a-.pem", "a..pem", "*.example.com.pem", "a.pem.bak", "a b.pem",
    "WILDCARD..pem", f"{'a' * 252}.pem", "a;b.pem", "..pem",
]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_certificate_names_of_a_wrong_form(client, rig, pki, name, method):
    client.upload()
    answer = client.do(method, f"{ONE}/certificates/{name}", pki.server("a").path.read_bytes())
    assert (answer.status_int, answer.json) == (400, {"message": "Filename has wrong format"})
    assert not rig.cert_store.directory(LISTENER).exists()


@pytest.mark.parametrize(
    "name", ["a.pem", "www.example.com.pem", "WILDCARD.example.com.pem", f"{'a' * 251}.pem", "_x.pem"]
)
def test_certificate_names_of_the_right_form(client, pki, name):
    client.upload()
    assert client.do("PUT", f"{ONE}/certificates/{name}", pki.server("a").path.read_bytes()).status_int == 201


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "body is empty"),
        (b"frontend \xff\xfe\n", "UTF-8"),
        (b"frontend x\x00\n", "NUL"),
        (b"global\n    daemon\n", "no frontend"),
    ],
)
def test_configurations_that_are_no_text(client, body, words):
    client.upload()
    answer = client.upload(body)
    assert answer.status_int == 400
    assert words in answer.json["details"]
    assert client.do("GET", f"{ONE}/haproxy").body == CONFIGURATION


@pytest.mark.parametrize(
    "content_type", ["application/json", "multipart/form-data; boundary=x", "Application/JSON"]
)
def test_content_types_that_are_no_file(client, content_type):
    answer = client.do("PUT", UPLOAD, CONFIGURATION, Content_Type=content_type)
    assert answer.status_int == 400
    assert "Content-Type" in answer.json["details"]


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "application/octet-stream"]
)
def test_content_types_that_clients_send_by_default(client, content_type):
    assert client.do("PUT", UPLOAD, CONFIGURATION, Content_Type=content_type).status_int == 201


@pytest.mark.parametrize("body", [b"[" * 5000, b"\xff", b"{"])
def test_a_hostile_json_body_is_no_500(client, body):
    for path in (UPLOAD, f"{ONE}/start", "/info"):
        assert client.do("PUT", path, body, Content_Type="application/json").status_int in (400, 404, 405)


def test_an_encoded_body_is_refused(client):
    answer = client.do("PUT", UPLOAD, CONFIGURATION, Content_Encoding="gzip")
    assert (answer.status_int, "gzip" in answer.json["details"]) == (400, True)


def test_a_body_that_the_server_refused_is_told(client):
    client.upload()
    environ = {"amphora.body_error": "The body has 2000000 bytes; at most 1048576 are accepted"}
    answer = client.do("PUT", UPLOAD, environ=environ)
    assert (answer.status_int, answer.json["details"]) == (400, environ["amphora.body_error"])
    assert client.do("GET", f"{ONE}/haproxy").body == CONFIGURATION


def test_a_truncated_body_is_told(client):
    client.upload()
    answer = client.do("PUT", UPLOAD, b"front", Content_Length="500")
    assert (answer.status_int, "5 of 500" in answer.json["details"]) == (400, True)
    assert client.do("GET", f"{ONE}/haproxy").body == CONFIGURATION


@pytest.mark.parametrize(
    "path",
    ["/nothing", "/v0.1", "/v0.1/nothing", "/v0.2/info", f"{ONE}/certificates", f"{ONE}/start/x", "/info/x",
     "/v0.1//listeners", "/v0.1/listeners/__class__/child", "/dispatch", "/_route"],
)  # fmt: skip
def test_unknown_paths_are_a_json_404_or_400(client, path):
    assert client.do("GET", path).status_int in (404, 400, 405)


def test_inner_names_of_controllers_are_no_paths(client):
    for path in ("/dispatch", "/_route", "/child", "/handlers", "/v0.1/_children", "/index"):
        assert client.do("GET", path).status_int == 404


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("POST", "/info", "GET"), ("PUT", "/v0.1/listeners", "GET"), ("POST", ONE, "DELETE, GET"),
     ("GET", f"{ONE}/start", "PUT"), ("GET", UPLOAD, "PUT")],
)  # fmt: skip
def test_wrong_methods_are_a_json_405(client, method, path, allowed):
    answer = client.do(method, path)
    assert answer.status_int == 405
    assert answer.headers["Allow"] == allowed


def test_a_method_cannot_be_smuggled(client):
    client.upload()
    for path, body in ((f"{ONE}?_method=DELETE", b""), (ONE, b"_method=DELETE")):
        answer = client.do("POST", path, body, Content_Type="application/x-www-form-urlencoded")
        assert answer.status_int == 405
    assert client.do("GET", ONE).status_int == 200


def test_query_and_body_are_no_parameters(client):
    assert client.do("GET", "/info?request=1&_response=2&listener=3").status_int == 200
    assert (
        client.do("PUT", f"{ONE}/start", b'{"request": 1}', Content_Type="application/json").status_int == 404
    )


@pytest.mark.parametrize("accept", ["text/html", "image/png", "application/json;q=0", "nonsense"])
def test_what_a_client_accepts_decides_nothing(client, accept):
    client.upload()
    assert client.do("GET", "/info", Accept=accept).content_type == "application/json"
    assert client.do("GET", f"{ONE}/haproxy", Accept=accept).content_type == "text/plain"
    assert client.do("GET", "/nothing", Accept=accept).content_type == "application/json"


def test_head_is_get_without_a_body(client):
    client.upload()
    answer = client.do("HEAD", f"{ONE}/haproxy")
    assert (answer.status_int, answer.body) == (200, b"")
    assert answer.headers["Content-Length"] == str(len(CONFIGURATION))


@given(
    method=st.sampled_from(["GET", "PUT", "POST", "DELETE"]),
    segments=st.lists(
        st.one_of(
            st.sampled_from(
                [
                    "v0.1",
                    "0.5",
                    "1.0",
                    "loadbalancer",
                    "listeners",
                    "haproxy",
                    "certificates",
                    "start",
                    LISTENER,
                    "info",
                ]
            ),
            st.text(alphabet=st.characters(codec="utf-8", exclude_characters="/?#"), max_size=8),
        ),
        max_size=6,
    ),
    body=st.binary(max_size=64),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
def test_no_request_is_answered_with_500(rig, method, segments, body):
    client = Client(make_app(rig.services, []), extra_environ={"amphora.peer_names": ("controller",)})
    before = rig.siblings()
    from urllib.parse import quote

    answer = client.do(method, "/" + "/".join(quote(segment) for segment in segments), body)
    assert answer.status_int < 500
    assert rig.siblings() == before
