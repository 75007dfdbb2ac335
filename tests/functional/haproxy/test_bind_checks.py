# SPDX-License-Identifier: Apache-2.0
"""Pre-flight beside real haproxies."""

import os
import socket
import subprocess
import sys
import time

import pytest

from amphora.haproxy.preflight.bind_checks import bind_findings
from amphora.haproxy.proof.prove import prove, snapshot
from amphora.haproxy.reading.configuration import parse


def started(haproxy, text):
    configuration = haproxy.write(text)
    haproxy.spawn()
    prove(haproxy.master, haproxy.stats, configuration, time.monotonic() + 10)
    return configuration


def reasons(configuration, haproxy):
    owners = haproxy.owner_pids() if haproxy.process else ()
    return [finding.reason for finding in bind_findings(configuration, haproxy.namespace, owners)]


@pytest.mark.parametrize("host", ["127.0.0.1", "*", "::1", "::", "::ffff:127.0.0.1"])
def test_own_binds_are_no_findings_and_those_of_another_haproxy_are(make_haproxy, serving, free_port, host):
    running, other = make_haproxy(), make_haproxy()
    port = free_port()
    configuration = started(running, serving(f"{host}:{port}"))
    assert reasons(configuration, running) == []
    worker = running.stats.worker_pid()
    assert reasons(configuration, other) == [f"in use by haproxy (pid {worker})"]


def test_two_haproxies_would_share_a_port_silently(make_haproxy, serving, free_port):
    # Why the finding above matters: haproxy itself starts, and the kernel splits the connections.
    running, other = make_haproxy(), make_haproxy()
    text = serving(f"127.0.0.1:{free_port()}")
    started(running, text)
    started(other, text)
    assert reasons(other.configuration, other) == [f"in use by haproxy (pid {running.stats.worker_pid()})"]


def test_a_bind_that_widens_an_own_one_is_no_finding(haproxy, serving, free_port):
    port = free_port()
    started(haproxy, serving(f"127.0.0.1:{port}"))
    wider = haproxy.write(serving(f":{port}"))
    assert reasons(wider, haproxy) == []
    before = snapshot(haproxy.master)
    haproxy.reload()
    prove(haproxy.master, haproxy.stats, wider, time.monotonic() + 10, before=before)


def test_own_unix_sockets_are_no_findings_even_after_a_reload(make_haproxy, serving, short_dir):
    running, other = make_haproxy(), make_haproxy()
    text = serving(f"{short_dir}/f.sock", head=f"global\n stats socket {short_dir}/s.sock\n")
    configuration = started(running, text)
    assert reasons(configuration, running) == []
    before = snapshot(running.master)
    running.reload()
    prove(running.master, running.stats, configuration, time.monotonic() + 10, before=before)
    assert reasons(configuration, running) == []
    assert [reason.split(" (")[0] for reason in reasons(configuration, other)] == ["in use by haproxy"] * 2


LISTEN = """\
import socket, sys
sock = socket.socket(fileno=int(sys.argv[1]))
sock.bind(bytes.fromhex(sys.argv[2]))
sock.listen()
"""


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_a_unix_socket_belongs_to_whoever_holds_it_and_not_to_who_listened_first(serving, short_dir, kind):
    # From 3.1 on the first worker listens, hands it on, and ends.
    name = f"amp-{os.getpid()}" if kind == "abstract" else f"{short_dir}/x.sock"
    bound = f"\0{name}".ljust(108, "\0") if kind == "abstract" else f"{name}.tmp"
    configuration = parse(serving(f"abns@{name}" if kind == "abstract" else name).encode())
    with socket.socket(socket.AF_UNIX) as sock:
        argv = [sys.executable, "-c", LISTEN, str(sock.fileno()), bound.encode().hex()]
        subprocess.run(argv, pass_fds=[sock.fileno()], check=True, timeout=10)
        if kind == "path":
            os.rename(bound, name)
        assert bind_findings(configuration, "", {os.getpid()}) == ()
        (found,) = bind_findings(configuration, "", {1})
        assert f"(pid {os.getpid()})" in found.reason


def test_namespaces_are_worlds_of_their_own(make_haproxy, serving, free_port, namespace):
    inside, outside = make_haproxy(namespace), make_haproxy()
    port = free_port()
    configuration = started(inside, serving(f"127.0.0.1:{port}", f"::1:{port}"))
    assert reasons(configuration, inside) == []
    assert reasons(configuration, outside) == []
    other_inside = make_haproxy(namespace)
    assert (
        reasons(configuration, other_inside) == [f"in use by haproxy (pid {inside.stats.worker_pid()})"] * 2
    )


def test_foreign_addresses_depend_on_the_namespace_s_own_setting(make_haproxy, serving, namespace):
    haproxy = make_haproxy(namespace)
    configuration = haproxy.write(serving("203.0.113.77:8080", "2001:db8::77:8080"))
    assert [reason.split(",")[0] for reason in reasons(configuration, haproxy)] == [
        "no interface has this address"
    ] * 2
    for family in ("ipv4", "ipv6"):
        setting = f"net.{family}.ip_nonlocal_bind=1"
        subprocess.run(["ip", "netns", "exec", namespace, "sysctl", "-qw", setting], check=True, timeout=10)
    assert reasons(configuration, haproxy) == []
    started(haproxy, serving("203.0.113.77:8080", "2001:db8::77:8080"))


@pytest.mark.parametrize("family", ["127.0.0.1", "::1"])
def test_what_is_found_is_what_haproxy_would_refuse(haproxy, serving, free_port, eventually, family):
    port = free_port()
    listen = f"TCP6-LISTEN:{port},bind=[{family}]" if ":" in family else f"TCP4-LISTEN:{port},bind={family}"
    holder = subprocess.Popen(["socat", f"{listen},reuseaddr", "STDIO"], stdin=subprocess.DEVNULL)
    try:
        configuration = haproxy.write(serving(f"{family}:{port}"))
        found = eventually(lambda: reasons(configuration, haproxy))
        assert found == [f"in use by socat (pid {holder.pid})"]
        haproxy.spawn()
        assert haproxy.process.wait(5) == 1
        assert "Address already in use" in haproxy.log()
    finally:
        holder.kill()
        holder.wait(5)
