# SPDX-License-Identifier: Apache-2.0
import io
import json
import logging
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote_from_bytes
from wsgiref.types import StartResponse, WSGIEnvironment
from wsgiref.validate import validator

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.server.wsgi import Endpoints, RequestBody, build_environ, call

OK = "200 OK"


ENDPOINTS = Endpoints(("192.0.2.1", 9443), ("192.0.2.2", 50000), ("controller",))


def environ(
    body: bytes = b"",
    error: str = "",
    *,
    method: str = "PUT",
    raw_path: bytes = b"/0.1/a%2Fb",
    headers: Iterable[tuple[bytes, bytes]] = (),
) -> WSGIEnvironment:
    request = h11.Request(method=method, target=raw_path + b"?a=1", headers=[(b"host", b"h"), *headers])
    return build_environ(request, ENDPOINTS, RequestBody(io.BytesIO(body), error))


def test_environment_tells_who_asks_for_what() -> None:
    built = environ(b"abc", headers=[(b"x-one", b"1"), (b"x-one", b"2"), (b"content-type", b"text/plain")])

    assert built["REQUEST_METHOD"] == "PUT"
    assert built["PATH_INFO"] == "/0.1/a/b"
    assert built["amphora.raw_path"] == "/0.1/a%2Fb"
    assert built["QUERY_STRING"] == "a=1"
    assert built["REMOTE_ADDR"] == "192.0.2.2"
    assert built["amphora.peer_names"] == ("controller",)
    assert built["HTTP_X_ONE"] == "1,2"
    assert built["CONTENT_TYPE"] == "text/plain"
    assert built["wsgi.input"].read() == b"abc"
    assert "amphora.body_error" not in built
    assert "CONTENT_LENGTH" not in built


@pytest.mark.parametrize("header", [(b"transfer-encoding", b"chunked"), (b"content-length", b"99")])
def test_size_is_that_of_the_complete_body(header: tuple[bytes, bytes]) -> None:
    built = environ(b"abc", headers=[header])

    assert built["CONTENT_LENGTH"] == "3"
    assert "HTTP_TRANSFER_ENCODING" not in built


def test_refused_body_is_told() -> None:
    assert environ(error="Too much.")["amphora.body_error"] == "Too much."


def test_underscore_cannot_pass_for_a_dash() -> None:
    built = environ(headers=[(b"x_one", b"forged"), (b"content_length", b"1")])

    assert not {"HTTP_X_ONE", "CONTENT_LENGTH", "HTTP_CONTENT_LENGTH"} & built.keys()


@pytest.mark.parametrize(
    ("target", "path"),
    [(b"https://h:1/a/b", "/a/b"), (b"https://h", "/"), (b"/a://b", "/a://b"), (b"*", "*")],
)
def test_absolute_target_is_reduced_to_its_path(target: bytes, path: str) -> None:
    assert environ(raw_path=target)["PATH_INFO"] == path


@given(st.binary())
def test_path_keeps_every_byte(path: bytes) -> None:
    raw_path = b"/" + quote_from_bytes(path, safe="/").encode()

    assert environ(raw_path=raw_path)["PATH_INFO"].encode("latin-1") == b"/" + path


def test_call_keeps_to_the_protocol() -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("202 Accepted", [("Content-Type", "text/plain"), ("ETag", '"x"')])
        return [b"a", b"b"]

    answer = call(validator(app), environ())

    assert answer.status == 202
    assert answer.body == b"ab"
    assert dict(answer.headers) == {"content-type": "text/plain", "etag": '"x"', "content-length": "2"}


def test_write_callable_comes_before_the_iterable() -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response(OK, [])(b"first ")
        return [b"second"]

    assert call(app, environ()).body == b"first second"


def test_head_keeps_the_size_of_the_body_it_leaves_out() -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response(OK, [("Content-Length", "1234")])
        return []

    assert dict(call(app, environ(method="HEAD")).headers)["content-length"] == "1234"
    assert dict(call(app, environ(method="GET")).headers)["content-length"] == "0"


def test_no_content_has_none() -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("204 No Content", [("Content-Length", "1")])
        return [b"x"]

    answer = call(app, environ())

    assert (answer.headers, answer.body) == ((), b"")


def _raises(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    raise ZeroDivisionError("secret")


def _exits(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    raise SystemExit(0)


def _raises_halfway(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
    start_response(OK, [])
    yield b"half"
    raise ZeroDivisionError("secret")


def _forgets_to_start(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    return [b"x"]


def _starts_twice(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response(OK, [])
    start_response(OK, [])
    return []


def _splits_a_header(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response(OK, [("X-One", "1\r\nX-Two: 2")])
    return []


def _invents_a_status(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("999 What", [])
    return []


@pytest.mark.parametrize(
    "app",
    [_raises, _exits, _raises_halfway, _forgets_to_start, _starts_twice, _splits_a_header, _invents_a_status],
)
def test_faulty_application_becomes_a_logged_500(app: Any, caplog: pytest.LogCaptureFixture) -> None:
    answer = call(app, environ())
    request_id = dict(answer.headers)["x-request-id"]

    assert answer.status == 500
    assert json.loads(answer.body)["message"] == "Internal Server Error"
    assert b"secret" not in answer.body
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert caplog.messages == [f"{request_id}: the application failed on PUT /0.1/a%2Fb"]
    assert caplog.records[0].exc_info is not None


def test_started_answer_may_be_replaced_by_an_error() -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response(OK, [])
        try:
            raise ZeroDivisionError
        except ZeroDivisionError as error:
            start_response("503 Busy", [], (type(error), error, error.__traceback__))
        return [b"busy"]

    assert call(app, environ()).status == 503


def test_iterable_is_closed_when_it_fails() -> None:
    class Chunks:
        closed = False

        def __iter__(self) -> Iterator[bytes]:
            raise ZeroDivisionError

        def close(self) -> None:
            self.closed = True

    chunks = Chunks()

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response(OK, [])
        return chunks

    assert call(app, environ()).status == 500
    assert chunks.closed
