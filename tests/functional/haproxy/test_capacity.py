# SPDX-License-Identifier: Apache-2.0
"""Estimates of pre-flight, held against what real haproxies take."""

import re
import socket
import time

import pytest

from amphora.haproxy.preflight.capacity import MIB, needed_memory, read_capacity
from amphora.haproxy.preflight.checks import capacity_findings, gather_facts
from amphora.haproxy.preflight.footprint import FOOTPRINTS
from amphora.haproxy.proof.prove import prove, snapshot
from amphora.system.memory import process_memory
from amphora.system.processes import descriptor_limit
from amphora.testing.pki import Pki

_CANNOT_RAISE = re.compile(r"Cannot raise FD limit to (\d+), (?:current )?limit is (\d+)")


def started(haproxy, text):
    configuration = haproxy.write(text)
    haproxy.spawn()
    return prove(haproxy.master, haproxy.stats, configuration, time.monotonic() + 10)


def footprint(haproxy):
    return haproxy.program.refresh().latest(FOOTPRINTS)


def limited(haproxy, limit):
    """Run as a service that may not raise its limits."""
    plain = haproxy.program.service_argv(haproxy.files, haproxy.directory / "pid", haproxy.master_path)
    confined = ("setpriv", "--bounding-set", "-sys_resource", "prlimit", f"--nofile={limit}:{limit}")
    haproxy.spawn(argv=(*confined, *plain))


@pytest.mark.parametrize("extra", ["", " option splice-auto\n"], ids=["plain", "splicing"])
@pytest.mark.parametrize("threads", [1, 4])
def test_descriptors_are_estimated_as_haproxy_counts_them(haproxy, serving, free_port, threads, extra):
    head = f"global\n maxconn 5000\n nbthread {threads}\n"
    text = serving(f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}", head=head) + extra
    text += "backend b\n" + "".join(f" server s{n} 127.0.0.1:9 check inter 1h\n" for n in range(20))
    configuration = haproxy.write(text)
    assert haproxy.check()  # -c raises no limits and finds nothing
    limited(haproxy, 4096)
    assert haproxy.process.wait(10) == 1
    needed, allowed = map(int, _CANNOT_RAISE.search(haproxy.log()).groups())
    estimated = read_capacity(configuration, footprint(haproxy)).descriptors()
    print(f"{needed} descriptors, estimated {estimated}")
    assert allowed == 4096
    # Our own control sockets are not in the estimate.
    assert needed - 15 <= estimated <= needed


def test_the_limit_of_a_running_process_is_the_one_it_meets(haproxy, serving, free_port):
    haproxy.write(serving(f"127.0.0.1:{free_port()}", head="global\n maxconn 1000\n"))
    limited(haproxy, 4096)
    prove(haproxy.master, haproxy.stats, haproxy.configuration, time.monotonic() + 10)
    assert descriptor_limit(haproxy.process.pid) == 4096
    larger = haproxy.write(serving(f"127.0.0.1:{free_port()}", head="global\n maxconn 9000\n"))
    facts = gather_facts(master_pid=haproxy.process.pid)
    assert "may have 4096" in str(capacity_findings(larger, facts)[0])


def servers(backends, each, parameters=""):
    return "".join(
        f"backend b{b}\n" + "".join(f" server s{s} 127.0.0.1:{s + 1} {parameters}\n" for s in range(each))
        for b in range(backends)
    )


@pytest.mark.parametrize("kind", ["tiny", "servers", "tls servers", "frontends", "map", "certificates"])
def test_memory_of_an_idle_worker_is_estimated(haproxy, serving, free_port, short_dir, kind):
    port = free_port()
    text = serving(f"127.0.0.1:{port}")
    if kind == "servers":
        text += servers(100, 20)
    elif kind == "tls servers":
        text += servers(50, 20, "ssl verify none")
    elif kind == "frontends":
        text = serving(*(f"127.0.0.1:{free_port()}" for _ in range(200)))
    elif kind == "map":
        (short_dir / "map").write_text("".join(f"host{n}.example.com backend{n}\n" for n in range(30_000)))
        text += f" http-request set-header X %[path,map({short_dir}/map,none)]\n"
    elif kind == "certificates":
        directory = short_dir / "certificates"
        directory.mkdir()
        pki = Pki(directory)
        for number in range(60):
            pki.server(f"n{number}.example", file_name=f"{number}.pem")
        pki.ca_path.unlink()
        text = serving(f"127.0.0.1:{port} ssl crt {directory}")
    evidence = started(haproxy, text)
    measured = process_memory(evidence.worker_pid)
    limit = descriptor_limit(evidence.master_pid)
    estimated = read_capacity(haproxy.configuration, footprint(haproxy)).idle_memory(limit)
    print(f"{kind}: {measured / MIB:.1f} MiB, estimated {estimated / MIB:.1f} MiB")
    # Too little would let the kernel end somebody, far too much would refuse what fits.
    assert 0.9 * measured <= estimated <= 1.6 * measured + 2 * MIB


def test_a_second_generation_takes_no_more_than_estimated(haproxy, serving, free_port, eventually):
    port = free_port()
    started(haproxy, serving(f"127.0.0.1:{port}", head="global\n maxconn 2000\n") + servers(100, 20))
    clients = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(300)]
    try:
        for client in clients:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        eventually(lambda: haproxy.stats.info()["CurrConns"] >= "300")
        before = snapshot(haproxy.master)
        worker = haproxy.stats.worker_pid()
        size = read_capacity(haproxy.configuration, footprint(haproxy))
        estimated = needed_memory(size, size, process_memory(worker))
        total = sum(process_memory(pid) for pid in before.pids)
        haproxy.reload()
        prove(haproxy.master, haproxy.stats, haproxy.configuration, time.monotonic() + 10, before=before)
        grown = sum(process_memory(pid) or 0 for pid in haproxy.owner_pids()) - total
        print(f"second generation: {grown / MIB:.1f} MiB, estimated {estimated / MIB:.1f} MiB")
        assert 0 < grown <= estimated
    finally:
        for client in clients:
            client.close()
