# SPDX-License-Identifier: Apache-2.0
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.errors import InvalidConfiguration
from amphora.haproxy.reading.addresses import EndpointKind
from amphora.haproxy.reading.configuration import Configuration, parse, protocol
from amphora.haproxy.reading.references import referenced_files
from amphora.models import Protocol

LISTENER_1, LISTENER_2 = "11000000-0000-4000-8000-000000000001", "11000000-0000-4000-8000-000000000002"
POOL_1, POOL_2 = "90000000-0000-4000-8000-000000000001", "90000000-0000-4000-8000-000000000002"
MEMBER_1 = "ae000000-0000-4000-8000-000000000001"


@pytest.fixture
def load_balancer(data_dir):
    return parse((data_dir / "load_balancer.cfg").read_bytes())


def test_frontends_of_a_load_balancer(load_balancer):
    names = [frontend.name for frontend in load_balancer.frontends]
    assert names == [LISTENER_1, LISTENER_2, "prometheus-exporter-internal-endpoint"]
    assert load_balancer.main_frontend.name == LISTENER_1
    assert load_balancer.main_frontend.default_backend == f"{POOL_1}:{LISTENER_1}"
    assert [protocol(frontend) for frontend in load_balancer.frontends] == [
        Protocol.HTTP,
        Protocol.TERMINATED_HTTPS,
        Protocol.HTTP,
    ]
    assert load_balancer.expected_frontends() == frozenset(names)


def test_binds_of_a_load_balancer(load_balancer):
    http, https = load_balancer.frontends[:2]
    assert [(bind.line, bind.text) for bind in http.binds] == [(25, "203.0.113.2:80"), (26, "2001:db8::4:80")]
    files = [file.path for file in referenced_files(load_balancer.lines) if file.line == https.binds[0].line]
    assert [file.rpartition("/")[2] for file in files] == [
        f"{LISTENER_2}.pem",
        "3a5a42f1b7d8d2f0b7d55a0ad6e8a3f0f6a0c001.pem",
    ]


def test_backends_and_ids_of_a_load_balancer(load_balancer):
    assert [backend.name for backend in load_balancer.backends][:2] == [
        f"{POOL_1}:{LISTENER_1}",
        f"{POOL_2}:{LISTENER_1}",
    ]
    assert load_balancer.pool_ids[f"{POOL_2}:{LISTENER_1}"] == POOL_2
    assert load_balancer.member_ids[f"{POOL_1}:{LISTENER_1}", MEMBER_1] == MEMBER_1
    checked = [server.checked for backend in load_balancer.backends for server in backend.servers]
    assert checked == [True, True, False, True, True, False]
    assert load_balancer.backends[1].servers[0].disabled


def test_global_settings_of_a_load_balancer(load_balancer):
    assert (load_balancer.sets_user, load_balancer.sets_group) == (True, False)
    assert load_balancer.log_targets == ("/run/rsyslog/octavia/log",) * 2
    (stats_socket,) = load_balancer.stats_sockets
    assert stats_socket.endpoints[0].path == "/var/lib/octavia/1b000000-0000-4000-8000-000000000001.sock"


def test_only_the_local_peer_listens(load_balancer):
    def addresses(local_peer):
        return [bind.text for bind in load_balancer.listening(local_peer) if ":1025" in bind.text]

    assert addresses("xmPZnYggPmh74TtL9zsmMW6DYhA") == ["203.0.113.5:1025"]
    assert addresses("") == []


def test_comments_give_ids(data_dir):
    configuration = parse((data_dir / "single_listener.cfg").read_bytes())
    assert dict(configuration.pool_ids) == {"web": "90000000-0000-4000-8000-00000000000a"}
    assert dict(configuration.member_ids) == {
        ("web", "one"): MEMBER_1,
        ("web", "two"): "ae000000-0000-4000-8000-000000000002",
        ("web", "three"): "three",
    }
    (backend,) = configuration.backends
    assert backend.mode == "http"
    assert [(s.checked, s.disabled) for s in backend.servers] == [(True, False), (False, False), (True, True)]


def sections(text):
    return parse(text.encode())


def test_modes_come_from_the_defaults_before_or_named():
    configuration = sections(
        "frontend a\ndefaults one\n mode http\nfrontend b\ndefaults\nfrontend c\nfrontend d from one\n"
        "defaults two from one\n disabled\n default_backend x\nbackend e\nfrontend f\nfrontend g from gone"
    )
    modes = {proxy.name: proxy.mode for proxy in (*configuration.frontends, *configuration.backends)}
    assert modes == {"a": "tcp", "b": "http", "c": "tcp", "d": "http", "e": "http", "f": "http", "g": "tcp"}
    by_name = {frontend.name: frontend for frontend in configuration.frontends}
    assert (by_name["f"].disabled, by_name["f"].default_backend, by_name["g"].disabled) == (True, "x", False)
    assert configuration.expected_frontends() == {"a", "b", "c", "d", "g"}


def test_sections_begin_at_any_indentation_and_through_quotes():
    configuration = sections(
        '   "front"end "a b"\n\tbi\\x6ed :80\n  mode http\nlisten l\n server s x:1\nlisten m'
    )
    assert [frontend.name for frontend in configuration.frontends] == ["a b", "l", "m"]
    assert [backend.name for backend in configuration.backends] == ["l"]
    assert configuration.frontends[0].binds[0].text == ":80"


def test_words_of_other_sections_are_not_taken_for_ours():
    configuration = sections(
        "userlist u\n user x password y\n group g\nprogram p\n user z\nbind :1\nserver a b:1"
    )
    assert configuration == Configuration()


def test_what_depends_on_conditions_or_variables_is_uncertain():
    configuration = sections(
        '.if defined(X)\n.if 1\nfrontend a\n bind :80\n.endif\n.endif\nfrontend "${B}"\n bind "$IP:80"\n'
        ".endif\nfrontend c\n bind :81"
    )
    kinds = [frontend.binds[0].endpoints[0].kind for frontend in configuration.frontends]
    assert kinds == [EndpointKind.UNRESOLVABLE, EndpointKind.UNRESOLVABLE, EndpointKind.TCP]
    assert configuration.expected_frontends() == {"c"}


def test_global_words_change_what_is_listened_on():
    configuration = sections(
        "global\n noreuseport\n gid 5\n unix-bind mode 600 prefix /run\n crt-base /c\n ca-base /a\n"
        " localpeer me\n stats socket /x.sock\n"
        "frontend f\n bind /f.sock ssl crt a.pem ca-file b.pem\n"
        "peers p\n peer me 10.0.0.1:1\n peer other 10.0.0.2:1\npeers q\n bind :2\n server r\n"
        "peers off\n enabled\n disabled\n bind :3\nlog-forward l\n bind :4\n dgram-bind :5\n"
    )
    assert (configuration.reuse_port, configuration.sets_group, configuration.sets_user) == (
        False,
        True,
        False,
    )
    listening = [(bind.endpoints[0].path or bind.text) for bind in configuration.listening()]
    assert listening == ["/run/f.sock", "10.0.0.1:1", ":2", "/x.sock", ":4", ":5"]
    assert [file.path for file in referenced_files(configuration.lines)] == ["/c/a.pem", "/a/b.pem"]
    assert configuration.log_binds[1].endpoints[0].kind is EndpointKind.UDP


def test_the_host_name_is_the_local_peer_by_default():
    configuration = sections(f"peers p\n peer {socket.gethostname()} :1\n peer nobody :2")
    assert [bind.text for bind in configuration.listening()] == [":1"]


def test_disabled_frontends_do_not_listen():
    assert list(sections("frontend f\n bind :1\n disabled").listening()) == []


def test_incomplete_lines_are_passed_over():
    configuration = sections(
        "global\n stats socket\n log\n unix-bind prefix\nfrontend\n bind\n mode\n server\npeers\n peer a"
    )
    assert configuration.main_frontend.name == ""
    assert configuration.main_frontend.binds == ()


def test_large_configurations_are_read_whole(data_dir):
    text = (data_dir / "load_balancer.cfg").read_bytes()
    assert len(parse(text * 70).frontends) == 210


def test_not_text_is_refused():
    with pytest.raises(InvalidConfiguration, match="line 1: not UTF-8"):
        parse(b"\xff")


KEYWORDS = "global defaults frontend backend listen peers from bind :80 server s ssl mode http .if .endif"
WORDS = st.sampled_from([*KEYWORDS.split(), "#", "'", '"', "\\", *["\n"] * 8])


@given(st.lists(WORDS).map(" ".join))
def test_odd_configurations_never_raise(text):
    configuration = sections(text)
    assert set(configuration.pool_ids) == {backend.name for backend in configuration.backends}
    assert all(frontend.line >= 1 for frontend in configuration.frontends)
