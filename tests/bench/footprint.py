# SPDX-License-Identifier: Apache-2.0
"""Reports memory, start time and request times of a real agent. Asserts nothing.

Run it by ``tox -e bench``: that environment holds the daemon's requirements only, as an image does.
Times are compared side by side in one run, since machines differ and drift.
"""

import argparse
import http.client
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing, contextmanager
from pathlib import Path

from amphora.testing.agent import AgentProcess, free_port
from amphora.testing.member import Member
from tests.support.listeners import configuration, listener_id

ONE = listener_id(1)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=200, help="for each median")
    parser.add_argument("--starts", type=int, default=5)
    arguments = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="amp-", dir="/dev/shm"))
    agent = AgentProcess(directory)
    member = Member()
    try:
        starts = measure_starts(agent, arguments.starts)
        agent.start()
        idle = memory(agent.pid)
        one_of_each(agent, member)
        used = memory(agent.pid)
        with bare_server(agent) as port:
            fresh = side_by_side(agent, port, arguments.requests, fresh_request)
            reused = side_by_side(agent, port, arguments.requests, Reused())
        report(starts, idle, used, fresh, reused)
    finally:
        agent.clean_up()
        member.close()
        shutil.rmtree(directory)


def measure_starts(agent, count):
    """Seconds from exec to the first answered request."""
    seconds = []
    for _ in range(count):
        began = time.monotonic()
        agent.start()
        agent.call("GET", "/info")
        seconds.append(time.monotonic() - began)
        agent.stop()
    return seconds


def one_of_each(agent, member):
    path = f"/v0.1/listeners/{ONE}"
    certificate = f"{path}/certificates/www.example.com.pem"
    agent.upload(ONE, configuration(ONE, [f"127.0.0.1:{free_port()}"], member.port))
    for method, target in (
        ("GET", "/"), ("GET", "/info"), ("PUT", f"{path}/start"), ("PUT", f"{path}/reload"),
        ("GET", "/v0.1/listeners"), ("GET", path), ("GET", f"{path}/haproxy"),
    ):  # fmt: skip
        assert agent.call(method, target).status < 300
    body = agent.pki.server("www.example.com", file_name="tenant.pem").path.read_bytes()
    assert agent.call("PUT", certificate, body).status == 201
    for method, target in (("GET", certificate), ("DELETE", certificate), ("PUT", f"{path}/stop")):
        assert agent.call(method, target).status < 300
    assert agent.call("DELETE", path).status == 200


def memory(pid):
    """Resident and proportional set size in MB (proc_pid_smaps(5)).

    The report itself runs on the same libraries, so the proportional size counts half of them; the
    resident size is what an agent takes that is alone with its interpreter, as in an amphora.
    """
    sizes = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name in ("Rss", "Pss"):
            sizes[name] = int(rest.split()[0]) / 1000
    return sizes["Rss"], sizes["Pss"]


@contextmanager
def bare_server(agent):
    port = free_port()
    command = [sys.executable, "-m", "tests.bench.bare_server"]
    certificate = agent.directory / "server.pem"
    process = subprocess.Popen([*command, certificate, agent.pki.ca_path, str(port)], stdout=subprocess.PIPE)
    try:
        process.stdout.readline()
        yield port
    finally:
        process.kill()
        process.communicate()


def connect(agent, port):
    return http.client.HTTPSConnection(
        "127.0.0.1", port, context=agent.pki.client_context(agent.client), timeout=10
    )


def fresh_request(agent, port):
    with closing(connect(agent, port)) as connection:
        return timed_request(connection)


class Reused:
    """Keeps one connection for each port."""

    def __init__(self):
        self._connections = {}

    def __call__(self, agent, port):
        if port not in self._connections:
            self._connections[port] = connect(agent, port)
            timed_request(self._connections[port])
        return timed_request(self._connections[port])


def timed_request(connection):
    began = time.perf_counter()
    connection.request("GET", "/info")
    connection.getresponse().read()
    return time.perf_counter() - began


def side_by_side(agent, bare_port, count, request):
    pairs = [(request(agent, agent.port), request(agent, bare_port)) for _ in range(count)]
    return [statistics.median(column) * 1000 for column in zip(*pairs, strict=True)]


def report(starts, idle, used, fresh, reused):
    rows = [
        ("memory when ready, RSS", f"{idle[0]:.1f} MB", f"PSS {idle[1]:.1f} MB"),
        ("memory after one of each request, RSS", f"{used[0]:.1f} MB", f"PSS {used[1]:.1f} MB, aim: 45 MB"),
        ("exec to first answered request, median", f"{statistics.median(starts):.2f} s", "aim: 0.4 s"),
        ("/info on a fresh connection, median", f"{fresh[0]:.2f} ms", ""),
        (
            "  the same server, smallest application",
            f"{fresh[1]:.2f} ms",
            f"ratio {fresh[0] / fresh[1]:.2f}, aim: 1.3",
        ),
        ("/info on a kept connection, median", f"{reused[0]:.2f} ms", ""),
        (
            "  the same server, smallest application",
            f"{reused[1]:.2f} ms",
            f"ratio {reused[0] / reused[1]:.2f}",
        ),
    ]
    for name, value, remark in rows:
        print(f"{name:<44}{value:>10}   {remark}".rstrip())


if __name__ == "__main__":
    main()
