# SPDX-License-Identifier: Apache-2.0
"""Reports what the installed haproxy takes, as ``amphora/haproxy/preflight/footprint.py`` has it.

Run it by ``python -m tests.bench.haproxy_footprint [haproxy]``, with no other haproxy about. Memory is the
proportional set size of an idle worker; each figure is the difference between a configuration with many of a
kind and one without, divided by their number, the larger of two. Descriptors are those that haproxy says it
needs where it may not have them.
"""

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from amphora.haproxy.capabilities import read_capabilities
from amphora.system.memory import process_memory
from amphora.system.processes import children_of
from amphora.testing.agent import free_port
from amphora.testing.pki import Pki

DEFAULTS = "defaults\n mode http\n timeout connect 1s\n timeout client 5s\n timeout server 5s\n"
KIB = 1024


class Bench:
    def __init__(self, command, directory):
        self.command, self.directory = command, directory
        self.pki = directory / "pki"
        self.pki.mkdir()
        self.counter = 0

    def text(self, body="", threads=1, maxconn=100):
        stats = f"stats socket {self.directory}/stats.sock mode 600 level admin expose-fd listeners"
        head = f"global\n {stats}\n nbthread {threads}\n maxconn {maxconn}\n user nobody\n"
        front = f"frontend f\n bind 127.0.0.1:{free_port()}\n http-request return status 200\n"
        return head + DEFAULTS + front + body

    def start(self, text):
        path = self.directory / "haproxy.cfg"
        path.write_text(text)
        sockets = ("-S", f"{self.directory}/master.sock,mode,600")
        return subprocess.Popen(
            (self.command, "-Ws", "-f", path, *sockets), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def idle(self, text):
        """Return the bytes of an idle worker."""
        found = []
        for _ in range(2):
            process = self.start(text)
            try:
                found.append(self.settled(process))
            finally:
                process.terminate()
                process.communicate(timeout=10)
        return max(found)

    def settled(self, process):
        deadline, last = time.monotonic() + 20, 0
        while time.monotonic() < deadline:
            time.sleep(0.4)
            now = max((process_memory(pid) or 0 for pid in children_of(process.pid)), default=0)
            if now and abs(now - last) < 16 * KIB:
                return now
            last = now
        raise TimeoutError(text_of(process))

    def descriptors(self, text):
        """Return how many descriptors haproxy says it needs."""
        path = self.directory / "limited.cfg"
        path.write_text(text)
        confined = ("setpriv", "--bounding-set", "-sys_resource", "prlimit", "--nofile=1024:1024")
        ran = subprocess.run(
            (*confined, self.command, "-Ws", "-f", path, "-S", f"{self.directory}/m2,mode,600"),
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        return int(re.search(r"Cannot raise FD limit to (\d+)", ran.stderr)[1])


def text_of(process):
    process.terminate()
    return process.communicate(timeout=5)[0].decode()


def proxies(kind, number, body=""):
    return "".join(f"{kind} x{n}\n{body}" for n in range(number))


def report(bench):
    def each(name, number, body, base=""):
        grown = bench.idle(bench.text(body)) - bench.idle(bench.text(base))
        print(f"{name:24}{grown / number / KIB:9.2f} KiB", flush=True)

    tiny = bench.idle(bench.text())
    print(f"{'one frontend, one thread':24}{tiny / KIB:9.0f} KiB", flush=True)
    print(f"{'thread':24}{(bench.idle(bench.text(threads=4)) - tiny) / 3 / KIB:9.2f} KiB", flush=True)
    big = bench.idle(bench.text(maxconn=9_000))
    print(f"{'descriptor':24}{(big - tiny) / 2 / 8_900:9.2f} B", flush=True)
    ports = iter(range(20_000, 30_000))
    fronts = "".join(
        f"frontend x{n}\n bind 127.0.0.1:{next(ports)}\n http-request return status 200\n" for n in range(200)
    )
    each("frontend", 200, fronts)
    each("backend", 200, proxies("backend", 200))
    lines = "".join(f" server s{n} 127.0.0.1:{n + 1}\n" for n in range(2000))
    each("server", 2000, f"backend b\n{lines}", "backend b\n")
    tls = "".join(f" server s{n} 127.0.0.1:{n + 1} ssl verify none\n" for n in range(1000))
    plain = "".join(f" server s{n} 127.0.0.1:{n + 1}\n" for n in range(1000))
    each("TLS server beside that", 1000, f"backend b\n{tls}", f"backend b\n{plain}")
    first = "backend b\n server s 127.0.0.1:1 ssl verify none\n"
    each("TLS at all, a server", 1, first, "backend b\n server s 127.0.0.1:1\n")
    mapped = bench.directory / "map"
    mapped.write_text("".join(f"host{n}.example.com backend{n}\n" for n in range(30_000)))
    each("line of a map", 30_000, f" http-request set-header X %[path,map({mapped},none)]\n")
    certificates(bench, each)
    for threads in (1, 4):
        need = bench.descriptors(bench.text(threads=threads, maxconn=5000))
        print(f"{f'descriptors, {threads} threads':24}{need:9d} for maxconn 5000, one bind", flush=True)
    need = bench.descriptors(bench.text("backend b\n" + " server s 127.0.0.1:9 check\n", maxconn=5000))
    print(f"{'the same, one check':24}{need:9d}", flush=True)


def certificates(bench, each):
    pki = Pki(bench.pki)
    for number in range(61):
        pki.server(f"n{number}.example", file_name=f"{number}.pem")
    pki.ca_path.unlink()
    one = bench.directory / "one"
    one.mkdir()
    (bench.pki / "60.pem").rename(one / "60.pem")
    bind = "frontend t\n bind 127.0.0.1:31000 ssl crt {}\n http-request return status 200\n"
    plain = "frontend t\n bind 127.0.0.1:31000\n http-request return status 200\n"
    each("first TLS bind", 1, bind.format(one), plain)
    each("certificate", 59, bind.format(bench.pki), bind.format(one))
    many = "".join(f" bind 127.0.0.1:{31_001 + n} ssl crt {one}\n" for n in range(50))
    few = "".join(f" bind 127.0.0.1:{31_001 + n}\n" for n in range(50))
    each("TLS bind beside a bind", 50, bind.format(one) + many, bind.format(one) + few)


def main():
    command = sys.argv[1] if len(sys.argv) > 1 else "/usr/sbin/haproxy"
    said = subprocess.run((command, "-vv"), capture_output=True, text=True, timeout=10, check=True).stdout
    print(f"haproxy {read_capabilities(said)}")
    with tempfile.TemporaryDirectory(prefix="amp-") as directory:
        report(Bench(command, Path(directory)))


if __name__ == "__main__":
    main()
