# SPDX-License-Identifier: Apache-2.0
"""Bytes that are no UTF-8, in requests as they come over the wire: WebTest would decode them itself."""

import json
from contextlib import closing

import pytest

from amphora.api.app import make_app
from amphora.server.settings import ServerSettings
from tests.api.conftest import CONFIGURATION, LISTENER
from tests.support.core import AMPHORA_ID
from tests.unit.server.conftest import RunningServer

METHODS = ("GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS")
PREFIXES = ("", "/v0.1", "/0.5", "/1.0", "/extensions", "/%ff")
ROUTES = [
    *("/%ff%fe", "/info/%ff", "/details%ff", "//%ff", "/vrrp/%ff", "/vrrp/upload%ff", "/topology%ff"),
    *("/listeners/%ff%fe", "/listeners/%ff/start", f"/listeners/{LISTENER}/%ff"),
    *(f"/listeners/{LISTENER}/certificates/%ff.pem", f"/listeners/{AMPHORA_ID}/%ff/haproxy"),
    *("/loadbalancer/%ff/reload", f"/loadbalancer/{AMPHORA_ID}/%c3%28/haproxy"),
    *("/plug/vip/%ff", "/plug/network%ff", "/interface/%ff", "/interface/%ff/rules"),
    *("/certificate%ff", "/config/%ff", "/drift/%ff", "/operations/%ff", "/instances/%ff", "/metrics%ff"),
]


@pytest.fixture
def server(rig, pki):
    app = make_app(rig.services, [])
    running = RunningServer(app, ServerSettings("127.0.0.1", 0), pki, optional=False)
    yield running
    running.server.stop()
    running.wait()


@pytest.fixture
def ask(server):
    """Send requests over one connection: method, path, body and headers to status and body."""
    with closing(server.https()) as client:

        def ask(method, path, body=None, **headers):
            headers = {name.replace("_", "-"): value for name, value in headers.items()}
            client.request(method, path, body=body, headers=headers)
            answer = client.getresponse()
            content = answer.read()
            assert answer.headers["X-Request-ID"].startswith("req-")
            if answer.status >= 400 and method != "HEAD":
                assert isinstance(json.loads(content), dict)
                assert answer.headers["Content-Type"] == "application/json"
            return answer.status, content

        yield ask


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_path_is_refused_on_every_route(ask, prefix):
    for route in ROUTES:
        for method in METHODS:
            assert ask(method, prefix + route)[0] in (400, 404), (method, prefix + route)


@pytest.mark.parametrize("query", ["%ff", "now=%ff%fe", "%ff=1", "a=1&b=%c3%28", "a=+%e2%82"])
def test_a_query_is_refused_on_every_route(ask, query):
    for path in ("/", "/info", "/v0.1/info", "/0.5/info", "/1.0/info", "/1.0/listeners", "/nothing",
                 "/extensions/drift", "/extensions/operations", f"/v0.1/listeners/{LISTENER}"):  # fmt: skip
        for method in METHODS:
            status, content = ask(method, f"{path}?{query}")
            assert status == 400, (method, path)
            assert method == "HEAD" or b"UTF-8" in content


NAMES = [
    "Accept",
    "Accept_Charset",
    "Accept_Encoding",
    "Accept_Language",
    "Authorization",
    "Cache_Control",
    "Content_Encoding",
    "Content_Language",
    "Content_Type",
    "Cookie",
    "Date",
    "Expect",
    "From",
    "Host",
    "Idempotency_Key",
    "If_Match",
    "If_Modified_Since",
    "If_None_Match",
    "If_Range",
    "If_Unmodified_Since",
    "Pragma",
    "Range",
    "Referer",
    "User_Agent",
    "X_Forwarded_For",
    "X_Request_ID",
]


@pytest.mark.parametrize(
    "value", [b"\xff\xfe", b'"\xff"', b"text/plain; charset=\xff", b"text/plain; charset=none"]
)
def test_no_header_ends_in_a_500(ask, value):
    upload = f"/v0.1/listeners/{AMPHORA_ID}/{LISTENER}/haproxy"
    for method, path, body in [
        ("GET", "/info", None), ("GET", "/nothing", None), ("PUT", upload, CONFIGURATION),
        ("PUT", f"/v0.1/listeners/{LISTENER}/start", None), ("POST", "/v0.1/plug/vip/10.0.0.1", b"{}"),
        ("GET", "/extensions/metrics", None), ("DELETE", f"/1.0/listeners/{LISTENER}", None),
        ("PUT", f"/1.0/loadbalancer/{AMPHORA_ID}/{LISTENER}/haproxy", CONFIGURATION),
    ]:  # fmt: skip
        for name in NAMES:
            assert ask(method, path, body, **{name: value})[0] < 500, (method, path, name)


@pytest.mark.parametrize(
    ("name", "value"),
    [("If_Match", b"\xff\xfe"), ("Idempotency_Key", b"\xff\xfe"), ("Content_Encoding", b"\xff\xfe")],
)
def test_a_header_that_is_read_is_refused_by_its_name(ask, name, value):
    status, content = ask(
        "PUT", f"/v0.1/listeners/{AMPHORA_ID}/{LISTENER}/haproxy", CONFIGURATION, **{name: value}
    )
    assert status == 400
    assert name.replace("_", "-").encode() in content
