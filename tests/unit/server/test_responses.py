# SPDX-License-Identifier: Apache-2.0
import json
import re

from amphora.server.responses import Response, internal_error, invalid_request


def test_invalid_request_is_json_with_an_identifier() -> None:
    answer = invalid_request("no such thing")
    headers = dict(answer.headers)

    assert answer.status == 400
    assert json.loads(answer.body) == {"message": "Invalid request", "details": "no such thing"}
    assert headers["content-type"] == "application/json"
    assert headers["content-length"] == str(len(answer.body))
    assert re.fullmatch(r"req-[0-9a-f-]{36}", headers["x-request-id"])


def test_internal_error_names_the_request_and_no_reason() -> None:
    answer = internal_error("req-1")

    assert answer.status == 500
    assert "req-1" in json.loads(answer.body)["details"]
    assert dict(answer.headers)["x-request-id"] == "req-1"


def test_server_and_date_are_ours() -> None:
    answer = Response(200, (("server", "other"), ("date", "never"), ("etag", "x")), b"")
    headers = answer.header_list()

    assert headers[:2] == [(b"etag", b"x"), (b"server", b"amphora-agent")]
    assert re.fullmatch(rb"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", headers[2][1])
    assert len(headers) == 3


def test_close_replaces_what_the_application_said() -> None:
    headers = Response(200, (("connection", "keep-alive"),), b"").header_list(close=True)

    assert [value for name, value in headers if name == b"connection"] == [b"close"]
