# SPDX-License-Identifier: Apache-2.0
"""Whole load balancers under /1.0: a real agent, a real haproxy, configurations as controllers write them."""

import contextlib
import hashlib
import http.client
import os
import signal
import socket
import ssl
from pathlib import Path

import pytest

from amphora.haproxy.control.control_socket import ask
from amphora.testing.agent import free_port
from amphora.testing.member import Member
from tests.support.load_balancers import (
    AMPHORA,
    LISTENER,
    LOAD_BALANCER,
    MEMBER,
    METRICS_LISTENER,
    POOL,
    TLS_LISTENER,
    backend,
    frontend,
    global_section,
    internal_metrics,
    peers_section,
)
from tests.support.traffic import Load, request_once

ONE = f"/1.0/loadbalancer/{LOAD_BALANCER}"


class LoadBalancer:
    """One load balancer with several listeners on ports of its own."""

    def __init__(self, agent, member):
        self.agent = agent
        self.member = member
        self.plain, self.tls, self.peer, self.metrics = (free_port() for _ in range(4))
        self.certificates = agent.directory / "certs" / LOAD_BALANCER

    def sections(self, member_port=None):
        port = member_port or self.member.port
        tls = f"127.0.0.1:{self.tls} ssl crt-list {self.certificates}/{TLS_LISTENER}.pem alpn h2,http/1.1"
        return [
            as_this_user(global_section(self.agent.base_path)),
            peers_section(f"127.0.0.1:{self.peer}"),
            # Addresses of IPv6 come without brackets.
            frontend(LISTENER, [f"127.0.0.1:{self.plain}", f"::1:{self.plain}"]),
            backend(LISTENER, port),
            frontend(TLS_LISTENER, [tls]),
            backend(TLS_LISTENER, port),
        ]

    def put_certificates(self, *names):
        """Store one certificate for each name, and the list of them; return the PEM of each."""
        stored, certificates = [], {}
        for name in names:
            leaf = self.agent.pki.server(name, file_name=f"{name}.pem")
            stored.append(f"{hashlib.sha1(leaf.path.read_bytes()).hexdigest()}.pem")
            assert self.put_file(stored[-1], leaf.path.read_bytes()).status == 200
            certificates[name] = leaf.certificate_pem.decode().strip()
        listed = "".join(f"{self.certificates}/{name}\n" for name in stored)
        assert self.put_file(f"{TLS_LISTENER}.pem", listed.encode()).status == 200
        return certificates

    def put_file(self, name, body):
        return self.agent.call("PUT", f"{ONE}/certificates/{name}", body)

    def upload(self, sections=None, amphora=AMPHORA):
        body = "".join(sections or self.sections()).encode()
        return self.agent.call("PUT", f"/1.0/loadbalancer/{amphora}/{LOAD_BALANCER}/haproxy", body)

    def act(self, action):
        return self.agent.call("PUT", f"{ONE}/{action}")

    def pid(self):
        path = self.agent.base_path / LOAD_BALANCER / f"{LOAD_BALANCER}.pid"
        return int(path.read_text().split()[0])

    def arguments(self):
        """Return those it was started with; from 3.1 on a reload adds some of its own before them."""
        arguments = Path(f"/proc/{self.pid()}/cmdline").read_text().split("\0")
        return arguments[arguments.index("-Ws") :]


def as_this_user(text):
    # Only root may let the workers run as somebody else.
    return text if os.geteuid() == 0 else text.replace("    user nobody\n", "")


def served_certificate(port, server_name):
    """The PEM of the certificate that a client gets who asks for this name."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", port), 5) as plain,
        context.wrap_socket(plain, server_hostname=server_name) as tls,
    ):
        return ssl.DER_cert_to_PEM_cert(tls.getpeercert(binary_form=True)).strip()


def is_open(port):
    with socket.socket() as probe:
        probe.settimeout(5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def balancer(agent, member):
    balancer = LoadBalancer(agent, member)
    balancer.pems = balancer.put_certificates("www.example.com", "shop.example.com")
    return balancer


@pytest.fixture
def serving(balancer):
    assert balancer.upload().status == 202
    # A controller never starts anything: a reload of what does not run is its start.
    assert balancer.act("reload").status == 202
    return balancer


def test_listeners_of_every_kind_serve_side_by_side(serving):
    assert request_once(serving.plain) is None
    assert request_once(serving.plain, "::1") is None
    for name, pem in serving.pems.items():
        assert served_certificate(serving.tls, name) == pem
    assert is_open(serving.peer), "the local peer is the one named by -L"
    listed = serving.agent.call("GET", "/1.0/listeners").json
    assert {entry["uuid"]: entry["type"] for entry in listed} == {
        LISTENER: "HTTP",
        TLS_LISTENER: "TERMINATED_HTTPS",
    }
    assert serving.agent.call("GET", "/1.0/details").json["haproxy_count"] == 1


def test_what_a_controller_sends_is_what_is_kept(serving):
    got = serving.agent.call("GET", f"{ONE}/haproxy")
    assert got.body == "".join(serving.sections()).encode()
    assert got.headers["ETag"] == hashlib.md5(got.body).hexdigest()
    own = serving.agent.base_path / f"{LOAD_BALANCER}.sock"
    assert own.stat().st_mode & 0o777 == 0o666
    assert LISTENER in ask(own, "show stat", 5.0)


def test_reloads_under_load_lose_nothing_and_carry_the_servers_state_over(serving):
    pid, arguments = serving.pid(), serving.arguments()
    with contextlib.closing(Member("other")) as other, Load(serving.plain) as load:
        for port in (other.port, serving.member.port):
            assert serving.upload(serving.sections(port)).status == 202
            assert serving.act("reload").json["details"] == f"Listener {LOAD_BALANCER} reloaded"
            load.wait_for(30)
    assert load.failures == []
    assert (serving.pid(), serving.arguments()) == (pid, arguments)
    state = (serving.agent.base_path / LOAD_BALANCER / "servers-state").read_text()
    assert state.startswith("1\n# be_id")
    assert f"{POOL}:{LISTENER} " in state
    assert MEMBER in state


def test_a_drained_member_stays_so_over_a_reload(serving):
    ours = serving.agent.base_path / LOAD_BALANCER / "agent.sock"
    ask(ours, f"set server {POOL}:{LISTENER}/{MEMBER} weight 0", 5.0)
    assert serving.act("reload").status == 202
    answer = ask(ours, f"get weight {POOL}:{LISTENER}/{MEMBER}", 5.0)
    assert answer.startswith("0 (initial 1)")


def test_another_name_among_the_peers_takes_a_new_master(serving):
    pid = serving.pid()
    assert serving.upload(amphora=AMPHORA.replace("a", "b")).status == 202
    assert serving.act("reload").status == 202
    assert serving.pid() != pid
    assert request_once(serving.plain) is None


def test_metrics_of_the_amphora_are_no_listener(serving):
    sections = [
        *serving.sections(),
        frontend(METRICS_LISTENER, [f"127.0.0.1:{free_port()}"]).replace(
            f"{POOL}:{METRICS_LISTENER}", "prometheus-exporter-internal"
        ),
        internal_metrics(serving.metrics),
    ]
    assert serving.upload(sections).status == 202
    assert serving.act("reload").status == 202
    listeners = [entry["uuid"] for entry in serving.agent.call("GET", "/1.0/listeners").json]
    assert listeners == [LISTENER, TLS_LISTENER, METRICS_LISTENER]
    connection = http.client.HTTPConnection("127.0.0.1", serving.metrics, timeout=5)
    connection.request("GET", "/metrics")
    assert b"haproxy_frontend_status" in connection.getresponse().read()
    connection.close()


def test_more_connections_than_the_system_has_descriptors_for(serving):
    """Controllers write the largest number there is for a load balancer without a limit."""
    sections = serving.sections()
    sections[0] = sections[0].replace("maxconn 2000", "maxconn 1000000")
    assert serving.upload(sections).status == 202
    assert serving.act("reload").status == 202
    assert request_once(serving.plain) is None


def test_disabling_every_listener_closes_them(serving):
    assert serving.upload(serving.sections()[:1]).status == 202
    assert serving.act("reload").status == 202
    assert not is_open(serving.plain)
    assert serving.upload().status == 202
    assert serving.act("reload").status == 202
    assert request_once(serving.plain) is None


def test_stop_start_and_delete_leave_nothing(serving):
    pid = serving.pid()
    for action, answers in (("stop", False), ("stop", False), ("start", True), ("start", True)):
        assert serving.act(action).status == 202
        assert is_open(serving.plain) is answers
    for _ in range(2):
        assert serving.agent.call("DELETE", f"/1.0/listeners/{LOAD_BALANCER}").status == 200
    assert not Path(f"/proc/{pid}").exists()
    assert not is_open(serving.plain)
    left = sorted(
        str(path.relative_to(serving.agent.base_path)) for path in serving.agent.base_path.rglob("*")
    )
    assert [path for path in left if LOAD_BALANCER in path] == []
    assert not serving.certificates.exists()


def test_a_haproxy_that_crashed_is_stopped_without_complaint(serving):
    pid = serving.pid()
    os.kill(pid, signal.SIGKILL)
    assert serving.act("stop").status == 202
    assert not is_open(serving.plain)
    assert serving.act("reload").status == 202
    assert request_once(serving.plain) is None
