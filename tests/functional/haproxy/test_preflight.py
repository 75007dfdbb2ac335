# SPDX-License-Identifier: Apache-2.0
"""The whole of pre-flight beside a real haproxy."""

import socket
import time

from amphora.haproxy.preflight.checks import gather_facts, preflight
from amphora.haproxy.preflight.findings import refusing_start, refusing_upload
from amphora.haproxy.proof.prove import prove
from amphora.testing.pki import Pki


def facts_of(haproxy):
    processes = haproxy.master.processes()
    return gather_facts(
        master_pid=processes.master.pid,
        worker_pids=processes.pids(),
        current_worker=processes.workers[0].pid,
        running=haproxy.configuration,
    )


def test_what_runs_can_be_reloaded_and_what_could_not_is_told(haproxy, serving, free_port, short_dir):
    crt = Pki(short_dir).server("a.example").path
    text = serving(f"127.0.0.1:{free_port()} ssl crt {crt}", f"127.0.0.1:{free_port()}")
    configuration = haproxy.write(text)
    haproxy.spawn()
    prove(haproxy.master, haproxy.stats, configuration, time.monotonic() + 10)
    facts = facts_of(haproxy)
    assert facts.worker_memory > 1024 * 1024
    assert preflight(configuration, facts) == ()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        other = text + f"frontend x\n bind 127.0.0.1:{taken.getsockname()[1]}\n errorfile 503 /none\n"
        found = preflight(haproxy.write(other), facts)
        assert [f.reason.partition(" (")[0] for f in found] == ["it does not exist", "in use by python"]
    assert [f.subject for f in refusing_upload(found)] == ["errorfile /none"]
    assert refusing_start(found) == found
