# SPDX-License-Identifier: Apache-2.0
"""Real requests against the whole application; only haproxy and the process manager are fakes."""

import json

import pytest
from webtest import TestApp

from amphora.api.app import make_app
from amphora.testing.pki import Pki
from tests.support.core import AMPHORA_ID, CoreRig

LISTENER = "04bff5c3-5862-4a13-b9e3-9b440d0ed50a"

CONFIGURATION = f"""\
# Configuration for {LISTENER}
frontend {LISTENER}
    mode http
    bind 127.0.0.1:80
    default_backend 399bbf4b-5f6c-4370-a61e-ed2ff2fc9387
backend 399bbf4b-5f6c-4370-a61e-ed2ff2fc9387
    mode http
    server 73f6d278-ae1c-4248-ad02-0bfd50d69aab 10.0.0.1:80 check
""".encode()


class Client(TestApp):
    """Returns every answer, whatever its status, and checks what holds for all of them."""

    def do(self, method, path, body=b"", environ=None, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        standing = self.extra_environ
        self.extra_environ = standing | (environ or {})
        try:
            response = self.request(path, method=method, body=body, headers=headers, expect_errors=True)
        finally:
            self.extra_environ = standing
        assert response.headers["X-Request-ID"].startswith("req-")
        if response.status_int >= 400:
            assert response.content_type == "application/json"
            assert is_error_body(response)
        return response

    def send(self, path, parameters):
        return self.do("POST", path, json.dumps(parameters).encode(), Content_Type="application/json")

    def upload(self, body=CONFIGURATION, listener=LISTENER, version="v0.1"):
        return self.do("PUT", f"/{version}/listeners/{AMPHORA_ID}/{listener}/haproxy", body)


def is_error_body(response):
    """Whether an answer has one of the three forms that errors have."""
    body = response.json
    return (
        isinstance(body.get("message"), str)
        or (set(body) == {"error", "http_code"} and body["http_code"] == response.status_int)
        or body == {"details": "No suitable network interface found"}
    )


@pytest.fixture
def rig(memory_dir):
    return CoreRig(memory_dir)


@pytest.fixture
def client(rig):
    return Client(make_app(rig.services, []), extra_environ={"amphora.peer_names": ("controller",)})


@pytest.fixture(scope="session")
def pki(tmp_path_factory):
    return Pki(tmp_path_factory.mktemp("pki"))
