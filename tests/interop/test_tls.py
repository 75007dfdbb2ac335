# SPDX-License-Identifier: Apache-2.0
"""TLS in front of and behind the load balancer, with keys that a controller brings."""

import ssl

import pytest

from amphora.testing.pki import Pki
from tests.interop import rig
from tests.interop.balancers import LOAD_BALANCER, balancer, identity, listener, pool

NOTHING_FAILED = {"failed": []}


class Tenant:
    """Certificates of a tenant: those of the servers, and those of the clients by a CA of their own."""

    def __init__(self, directory, controller):
        for name in ("servers", "clients"):
            (directory / name).mkdir()
        self.servers = Pki(directory / "servers", "servers CA")
        self.clients = Pki(directory / "clients", "clients CA")
        self.issued = {}
        self._controller = controller

    def server(self, name):
        """Make a server's certificate and give the controller's reference to it."""
        made = self.servers.server(name, file_name=f"{name}.pem", key="rsa")
        self.issued[name] = made.certificate_pem.decode()
        return self._controller.store_certificate(
            certificate=self.issued[name],
            private_key=made.key_pem.decode(),
            intermediates=self.servers.ca_pem.decode(),
        )

    def client_reference(self, credential):
        return self._controller.store_certificate(
            certificate=credential.certificate_pem.decode(), private_key=credential.key_pem.decode()
        )

    def secret(self, pem):
        return self._controller.store_secret(secret=pem.decode())

    def context(self, credential=None):
        context = self.servers.client_context(None)
        if credential is not None:
            context.load_cert_chain(credential.path)
        return context


@pytest.fixture(scope="module")
def tenant(newest, amphora):
    return Tenant(amphora.directory, newest)


@pytest.fixture(scope="module")
def plain_pool(members):
    members.http("a", rig.MEMBERS[0], 8080)
    return pool(1, (rig.MEMBERS[0], 8080))


def test_termination_serves_the_certificate_that_was_asked_for(newest, visitor, tenant, plain_pool):
    names = ["www.example.com", "shop.example.com", "mail.example.com"]
    first, *others = [tenant.server(name) for name in names]
    secure = listener(
        1,
        443,
        1,
        "TERMINATED_HTTPS",
        tls_certificate_id=first,
        sni_containers=others,
        insert_headers={"X-Forwarded-Proto": "true", "X-Forwarded-For": "true"},
    )
    assert newest.update(balancer=balancer([secure, listener(2, 80, 1)], [plain_pool])) == NOTHING_FAILED
    for name in names:
        visit = visitor.get(443, tls=tenant.context(), server_name=name)
        assert visit.certificate == tenant.issued[name]
        assert visit.seen["headers"]["x-forwarded-proto"] == "https"
    lenient = tenant.context()
    lenient.check_hostname = False
    assert (
        visitor.get(443, tls=lenient, server_name="else.example.com").certificate == tenant.issued[names[0]]
    )
    assert visitor.get(443, tls=tenant.context(), server_name=names[1], address=rig.VIP6).member == "a"
    assert visitor.get(80).member == "a"


def test_a_new_certificate_replaces_the_old_one(newest, visitor, tenant, plain_pool, plugged):
    certificates = plugged.directory / "certs" / LOAD_BALANCER
    for _ in range(2):
        reference = tenant.server("www.example.com")
        secure = listener(1, 443, 1, "TERMINATED_HTTPS", tls_certificate_id=reference)
        assert newest.update(balancer=balancer([secure], [plain_pool])) == NOTHING_FAILED
        visit = visitor.get(443, tls=tenant.context(), server_name="www.example.com")
        assert visit.certificate == tenant.issued["www.example.com"]
    newest.delete(balancer=balancer([secure], [plain_pool]), listener_id=secure["id"])
    assert not certificates.exists()


def test_versions_ciphers_protocols_and_transport_security(newest, visitor, tenant, plain_pool):
    secure = listener(
        1,
        443,
        1,
        "TERMINATED_HTTPS",
        tls_certificate_id=tenant.server("www.example.com"),
        tls_versions=["TLSv1.2"],
        tls_ciphers="ECDHE-RSA-AES256-GCM-SHA384:TLS_AES_256_GCM_SHA384",
        alpn_protocols=["h2", "http/1.1"],
        hsts_max_age=3600,
        hsts_include_subdomains=True,
        hsts_preload=False,
    )
    assert newest.update(balancer=balancer([secure], [plain_pool])) == NOTHING_FAILED
    visit = visitor.get(443, tls=tenant.context(), server_name="www.example.com")
    assert visit.headers["strict-transport-security"] == "max-age=3600; includeSubDomains;"
    newer = tenant.context()
    newer.minimum_version = ssl.TLSVersion.TLSv1_3
    with pytest.raises(OSError, match="protocol"):
        visitor.get(443, tls=newer, server_name="www.example.com")


@pytest.fixture(scope="module")
def clients(tenant):
    """The clients' CA and its list of revoked certificates as the controller refers to them."""
    good = tenant.clients.client("good", file_name="good.pem", key="rsa")
    revoked = tenant.clients.client("revoked", file_name="revoked.pem", key="rsa")
    references = {
        "client_ca_tls_certificate_id": tenant.secret(tenant.clients.ca_pem),
        "client_crl_container_id": tenant.secret(tenant.clients.revocation_list(revoked)),
    }
    return good, revoked, references


def test_clients_have_to_show_a_certificate_that_is_not_revoked(newest, visitor, tenant, clients, plain_pool):
    good, revoked, references = clients
    secure = listener(
        1,
        443,
        1,
        "TERMINATED_HTTPS",
        tls_certificate_id=tenant.server("www.example.com"),
        client_authentication="MANDATORY",
        insert_headers={"X-SSL-Client-CN": "true"},
        **references,
    )
    assert newest.update(balancer=balancer([secure], [plain_pool])) == NOTHING_FAILED
    visit = visitor.get(443, tls=tenant.context(good), server_name="www.example.com")
    assert visit.seen["headers"]["x-ssl-client-cn"] == "good"
    for refused in (None, revoked):
        with pytest.raises(OSError, match="alert|reset|EOF"):
            visitor.get(443, tls=tenant.context(refused), server_name="www.example.com")


def test_clients_may_show_a_certificate(newest, visitor, tenant, clients, plain_pool):
    good, _, references = clients
    rule = {
        "id": identity(3, 10),
        "type": "SSL_CONN_HAS_CERT",
        "compare_type": "EQUAL_TO",
        "value": "True",
        "invert": True,
    }
    policy = {"id": identity(3, 1), "action": "REJECT", "l7rules": [rule | {"key": None}]}
    secure = listener(
        1,
        443,
        1,
        "TERMINATED_HTTPS",
        tls_certificate_id=tenant.server("www.example.com"),
        client_authentication="OPTIONAL",
        l7policies=[policy],
        **references,
    )
    assert newest.update(balancer=balancer([secure], [plain_pool])) == NOTHING_FAILED
    statuses = [
        visitor.get(443, tls=tenant.context(who), server_name="www.example.com").status
        for who in (good, None)
    ]
    assert statuses == [200, 403]


def test_members_are_spoken_to_by_tls_again(newest, visitor, tenant, members):
    ours = tenant.clients.client("balancer", file_name="balancer.pem", key="rsa")
    members.http("locked", rig.MEMBERS[1], 8443, tls=True, client_ca=tenant.clients.ca_path)
    encrypted = pool(
        3,
        (rig.MEMBERS[1], 8443),
        tls_enabled=True,
        tls_certificate_id=tenant.client_reference(ours),
        ca_tls_certificate_id=tenant.secret(members.pki.ca_pem),
        crl_container_id=tenant.secret(members.pki.revocation_list()),
    )
    secure = listener(1, 443, 3, "TERMINATED_HTTPS", tls_certificate_id=tenant.server("www.example.com"))
    document = balancer([secure, listener(2, 80, 3)], [encrypted])
    assert newest.update(balancer=document) == NOTHING_FAILED
    for visit in (visitor.get(443, tls=tenant.context(), server_name="www.example.com"), visitor.get(80)):
        assert visit.member == "locked"
        assert visit.seen["client_certificate"]
    strangers = encrypted | {"ca_tls_certificate_id": tenant.secret(tenant.servers.ca_pem)}
    del strangers["crl_container_id"]
    assert newest.update(balancer=balancer([listener(2, 80, 3)], [strangers])) == NOTHING_FAILED
    assert visitor.get(80).status == 503


def test_a_secret_that_is_gone_costs_its_listener_only(newest, visitor, plain_pool):
    lost = listener(1, 443, 1, "TERMINATED_HTTPS", tls_certificate_id="00000000-0000-4000-8000-00000000dead")
    answer = newest.update(balancer=balancer([lost, listener(2, 80, 1)], [plain_pool]))
    assert answer == {"failed": [lost["id"]]}
    assert visitor.get(80).member == "a"
