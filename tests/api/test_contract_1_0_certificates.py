# SPDX-License-Identifier: Apache-2.0
"""Files of TLS under /1.0: certificates, lists of them, authorities, and the agent's own certificate."""

import hashlib

import pytest

from tests.support.load_balancers import LOAD_BALANCER

DIRECTORY = f"/1.0/loadbalancer/{LOAD_BALANCER}/certificates"
ONE = f"{DIRECTORY}/{'0' * 40}.pem"


@pytest.mark.parametrize(
    ("name", "body"),
    [
        (f"{hashlib.sha1(b'x').hexdigest()}.pem", b"-----BEGIN CERTIFICATE-----\n"),
        ("11000000-0000-4000-8000-000000000002.pem", b"/var/lib/octavia/certs/a/b.pem\n"),
        (f"{'a' * 40}.pem", b"-----BEGIN X509 CRL-----\n"),
        ("_-.pem", b"\xff\x00"),
    ],
)
def test_any_file_is_stored_for_a_load_balancer_that_need_not_be_known(client, rig, name, body):
    digest = hashlib.md5(body).hexdigest()
    stored = client.do("PUT", f"{DIRECTORY}/{name}", body)
    assert (stored.status_int, stored.json, stored.headers["ETag"]) == (200, {"message": "OK"}, digest)
    found = client.do("GET", f"{DIRECTORY}/{name}")
    assert (found.status_int, found.json, found.headers["ETag"]) == (200, {"md5sum": digest}, digest)
    path = rig.cert_store.directory(LOAD_BALANCER) / name
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (body, 0o600)


def test_a_file_that_is_not_there(client):
    answer = client.do("GET", ONE)
    assert answer.status_int == 404
    assert answer.json == {
        "message": "Certificate Not Found",
        "details": f"No certificate with filename: {'0' * 40}.pem",
    }


def test_delete_is_200_whether_or_not_it_was_there(client):
    client.do("PUT", ONE, b"x")
    for _ in range(2):
        answer = client.do("DELETE", ONE)
        assert (answer.status_int, answer.json) == (200, {"message": "OK"})
    assert client.do("GET", ONE).status_int == 404


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("name", ["xxpem.txt", "abc.pem.bak", ".pem", "a.b.pem", "abc", f"{'a' * 252}.pem"])
def test_names_of_a_wrong_form(client, rig, method, name):
    answer = client.do(method, f"{DIRECTORY}/{name}", b"x")
    assert (answer.status_int, answer.json) == (400, {"message": "Filename has wrong format"})
    assert not rig.cert_store.directory(LOAD_BALANCER).exists()


def test_the_agents_own_certificate(client, rig, pki):
    leaf, other = pki.server("amphora"), pki.server("other")
    answer = client.do("PUT", "/1.0/certificate", leaf.path.read_bytes())
    assert (answer.status_int, answer.json, "ETag" in answer.headers) == (202, {"message": "OK"}, False)
    refused = client.do("PUT", "/1.0/certificate", leaf.certificate_pem + other.key_pem)
    assert refused.status_int == 400
    assert rig.agent_certificate.read_bytes() == leaf.path.read_bytes()
