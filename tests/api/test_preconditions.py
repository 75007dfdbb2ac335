# SPDX-License-Identifier: Apache-2.0
"""ETags of what is stored, and changes only to what the client has seen (RFC 9110, section 13.1.1)."""

import hashlib
import re
import threading

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from amphora.api.request import parse_if_match
from amphora.errors import InvalidInput, PreconditionFailed
from tests.api.conftest import CONFIGURATION, LISTENER
from tests.support.core import AMPHORA_ID
from tests.support.lvs import EMPTY
from tests.support.lvs import LISTENER as UDP_LISTENER

OTHER = CONFIGURATION.replace(b":80", b":81")
STALE = "0" * 32
SPACES = st.text(" \t", max_size=3)
TAGS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF), max_size=12).map(
    lambda text: re.sub(r'["\x7f-\x9f]', "", text)
)


def md5(body):
    return hashlib.md5(body).hexdigest()


def stored_thing(version, kind):
    """Return the paths of an upload, of reading and of deleting, and two bodies."""
    owner = "loadbalancer" if version == "1.0" else "listeners"
    one = f"/{version}/{owner}/{LISTENER}"
    if kind == "configuration":
        upload = f"/{version}/{owner}/{AMPHORA_ID}/{LISTENER}/haproxy"
        return upload, f"{one}/haproxy", f"/{version}/listeners/{LISTENER}", CONFIGURATION, OTHER
    path = f"{one}/certificates/example.pem"
    return path, path, path, None, None


THINGS = [(version, kind) for version in ("v0.1", "0.5", "1.0") for kind in ("configuration", "certificate")]


@pytest.fixture(params=THINGS, ids="-".join)
def thing(request, client, pki):
    """A stored thing of each kind in each version."""
    upload, read, delete, old, new = stored_thing(*request.param)
    if old is None:
        assert client.upload().status_int == 201
        old, new = (pki.server("example").path.read_bytes() for _ in range(2))
    assert client.do("PUT", upload, old).status_int in (200, 201, 202)
    return upload, read, delete, old, new


def forms(tag):
    return {
        "bare": tag,
        "quoted": f'"{tag}"',
        "any": " * ",
        "list": f'"a,b", W/"{tag}",, "{tag}" ,',
    }


def test_reading_tells_the_tag_of_what_is_stored(client, thing):
    _, read, _, old, _ = thing
    assert client.do("GET", read).headers["ETag"] == md5(old)
    assert client.do("HEAD", read).headers["ETag"] == md5(old)


@pytest.mark.parametrize("form", ["bare", "quoted", "any", "list"])
def test_a_change_to_what_was_read_is_made(client, thing, form):
    upload, read, delete, old, new = thing
    assert client.do("PUT", upload, new, If_Match=forms(md5(old))[form]).status_int in (200, 201, 202)
    assert client.do("GET", read).headers["ETag"] == md5(new)
    assert client.do("DELETE", delete, If_Match=forms(md5(new))[form]).status_int == 200
    assert client.do("GET", read).status_int == 404


@pytest.mark.parametrize("form", ["bare", "quoted", "list"])
def test_a_change_to_something_else_is_412_and_not_made(client, thing, form):
    upload, read, delete, old, new = thing
    for method, path, body in (("PUT", upload, new), ("DELETE", delete, b"")):
        answer = client.do(method, path, body, If_Match=forms(STALE)[form])
        assert answer.status_int == 412
        assert answer.json["message"] == "Precondition Failed"
        assert md5(old) in answer.json["details"]
    assert client.do("GET", read).headers["ETag"] == md5(old)


def test_a_weak_tag_never_matches(client, thing):
    upload, _, _, old, new = thing
    assert client.do("PUT", upload, new, If_Match=f'W/"{md5(old)}"').status_int == 412


@pytest.mark.parametrize("condition", ["*", STALE])
def test_where_nothing_is_stored_nothing_matches(client, thing, condition):
    upload, _, delete, old, _ = thing
    assert client.do("DELETE", delete).status_int == 200
    assert client.do("PUT", upload, old, If_Match=condition).status_int == 412
    # The older versions say of what is not there that it is not there, whatever the condition.
    expected = 412 if upload.startswith("/1.0") else 404
    assert client.do("DELETE", delete, If_Match=condition).status_int == expected


@pytest.mark.parametrize(
    "condition", ["", ",", " , ", "W/", '"open', "abc", f"*, {STALE}", f"{STALE} {STALE}"]
)
def test_what_is_no_condition_is_400_and_nothing_is_changed(client, thing, condition):
    upload, read, delete, old, new = thing
    assert client.do("PUT", upload, new, If_Match=condition).status_int == 400
    assert client.do("DELETE", delete, If_Match=condition).status_int == 400
    assert client.do("GET", read).headers["ETag"] == md5(old)


def test_of_many_who_read_the_same_one_changes_it(client, rig):
    client.upload()
    bodies = [CONFIGURATION.replace(b":80", b":%d" % port) for port in range(1000, 1008)]
    path = f"/v0.1/listeners/{AMPHORA_ID}/{LISTENER}/haproxy"
    answers = {}

    def put(body):
        answers[body] = client.do("PUT", path, body, If_Match=md5(CONFIGURATION)).status_int

    threads = [threading.Thread(target=put, args=(body,)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(answers.values()) == [201] + [412] * 7
    (winner,) = (body for body, status in answers.items() if status == 201)
    assert rig.haproxy(LISTENER).configuration() == winner


def test_configurations_of_udp_listeners(client):
    upload = f"/1.0/listeners/{AMPHORA_ID}/{UDP_LISTENER}/udp_listener"
    stored = client.do("PUT", upload, EMPTY)
    assert stored.status_int == 200, stored.text
    changed = EMPTY + b"# changed\n"
    assert client.do("PUT", upload, changed, If_Match=STALE).status_int == 412
    assert client.do("PUT", upload, changed, If_Match=stored.headers["ETag"]).status_int == 200
    assert client.do("DELETE", f"/1.0/listeners/{UDP_LISTENER}", If_Match=STALE).status_int == 412
    assert client.do("DELETE", f"/1.0/listeners/{UDP_LISTENER}", If_Match=md5(changed)).status_int == 200


@pytest.mark.parametrize("version", ["v0.1", "0.5", "1.0"])
def test_configurations_of_keepalived(client, rig, version):
    path = f"/{version}/vrrp/upload"
    assert client.do("PUT", path, b"one", If_Match="*").status_int == 412
    assert client.do("PUT", path, b"one").status_int == 200
    assert client.do("PUT", path, b"two", If_Match=STALE).status_int == 412
    assert client.do("PUT", path, b"two", If_Match=md5(b"one")).status_int == 200
    assert rig.vrrp.stored == b"two"


def accepts(expected, digest):
    try:
        expected.require_digest(digest)
    except PreconditionFailed:
        return False
    return True


@given(st.lists(st.tuples(st.booleans(), TAGS, SPACES, SPACES), min_size=1, max_size=6))
def test_exactly_the_strong_tags_of_a_list_match(elements):
    value = ",".join(f'{left}{"W/" * weak}"{tag}"{right}' for weak, tag, left, right in elements)
    strong = {tag for weak, tag, _, _ in elements if not weak}
    expected = parse_if_match(value)
    for _, tag, _, _ in elements:
        assert accepts(expected, tag) == (tag in strong)
    assert not accepts(expected, None)


@given(st.text(st.sampled_from('*W/", \tab') | st.characters(max_codepoint=0xFF), max_size=40))
@example(" " * 60_000 + "x")
@example("," * 5_000)
def test_any_other_text_is_refused_or_matches_nothing_that_is_not_in_it(value):
    try:
        expected = parse_if_match(value)
    except InvalidInput:
        return
    assert accepts(expected, STALE) == (value.strip(" \t") == "*" or STALE in value)
