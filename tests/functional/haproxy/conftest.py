# SPDX-License-Identifier: Apache-2.0
"""Real haproxy processes, run by the tests themselves as master and worker."""

import contextlib
import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest

from amphora.haproxy.control.master import MasterSocket
from amphora.haproxy.control.stats import StatsSocket
from amphora.haproxy.overlay import OverlaySettings, render_overlay
from amphora.haproxy.program import HaproxyProgram
from amphora.haproxy.reading.configuration import parse
from amphora.haproxy.reading.unsuitable_lines import without_run_mode
from amphora.system.command import CommandRunner, clean_environment, in_namespace
from amphora.testing.service_bench import wait_until
from tests.support.haproxy_service import catches

COMMAND = Path("/usr/sbin/haproxy")
DEFAULTS = "defaults\n mode http\n timeout connect 1s\n timeout client 5s\n timeout server 5s\n"


class Haproxy:
    """One haproxy with an uploaded configuration and our overlay, in a directory of its own."""

    def __init__(self, directory, namespace="", **overlay):
        self.directory = directory
        self.namespace = namespace
        self.program = HaproxyProgram(COMMAND, CommandRunner())
        self.upload, self.overlay = directory / "haproxy.cfg", directory / "agent.cfg"
        self.files = (self.overlay, self.upload)
        self.settings = OverlaySettings(directory / "stats.sock", **overlay)
        self.master_path = directory / "master.sock"
        self.master = MasterSocket(self.master_path, 1)
        self.stats = StatsSocket(self.settings.stats_socket, 1)
        self.process = None

    def write(self, text):
        """Store a configuration as an upload would; return it as read."""
        capabilities, data = self.program.refresh(), text.encode()
        data = without_run_mode(data) if capabilities.warns_of_run_mode else data
        self.configuration = parse(data)
        self.upload.write_bytes(data)
        self.overlay.write_bytes(render_overlay(self.configuration, self.settings, capabilities))
        return self.configuration

    def check(self, **options):
        return self.program.check(self.files, namespace=self.namespace, **options)

    def spawn(self, *, argv=None, environment=None):
        argv = argv or self.program.service_argv(self.files, self.directory / "pid", self.master_path)
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                in_namespace(argv, self.namespace),
                stdout=log,
                stderr=log,
                env=clean_environment(environment),
                cwd="/",
                start_new_session=True,
            )
        return self.process.pid

    def reload(self):
        # A master that has just begun, or failed to reload, ignores the signal until it is set up.
        wait_until(lambda: catches(self.process.pid, signal.SIGUSR2), "the master process takes the signal")
        self.process.send_signal(signal.SIGUSR2)

    def log(self):
        return (self.directory / "log").read_text()

    def owner_pids(self):
        return self.master.processes().pids()

    def command(self, text):
        """Change something at run time through our stats socket."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(str(self.settings.stats_socket))
            connection.sendall(f"{text}\n".encode())
            return connection.recv(4096).decode()

    def close(self):
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(5)


@pytest.fixture
def short_dir():
    """A directory whose path leaves room for the name of a UNIX socket, and that any user may enter."""
    directory = Path(tempfile.mkdtemp(prefix="amp-", dir="/tmp"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def make_haproxy(short_dir):
    """Make haproxies that end with the test."""
    made = []

    def make(namespace="", **overlay):
        directory = short_dir / str(len(made))
        directory.mkdir()
        made.append(Haproxy(directory, namespace, **overlay))
        return made[-1]

    yield make
    for haproxy in made:
        haproxy.close()


@pytest.fixture
def haproxy(make_haproxy):
    return make_haproxy()


@pytest.fixture
def free_port():
    """Return a port of loopback that nobody has; each call another one."""
    given = set()

    def find():
        while True:
            with socket.socket(socket.AF_INET6) as sock:
                sock.bind(("::", 0))
                port = sock.getsockname()[1]
            if port not in given:
                given.add(port)
                return port

    return find


@pytest.fixture
def namespace():
    """A network namespace of its own with loopback up."""
    name = f"amp-hap-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True, timeout=10)
    try:
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True, timeout=10)
        yield name
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True, timeout=10)


@pytest.fixture
def eventually():
    """Wait until a question is answered with something true, and return it; five seconds at most."""

    def wait(question, seconds=5.0):
        deadline = time.monotonic() + seconds
        while not (answer := question()):
            assert time.monotonic() < deadline, "it did not happen in time"
            time.sleep(0.01)
        return answer

    return wait


@pytest.fixture
def member():
    """A server that answers every connection with its name; returns its port."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        # Closing alone does not wake a thread that waits in accept().
        stack.callback(lambda: listener.shutdown(socket.SHUT_RDWR))

        def serve():
            for _ in itertools.count():
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, contextlib.suppress(OSError):
                    connection.recv(4096)
                    connection.sendall(b"HTTP/1.0 200 OK\r\n\r\nmember\n")

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]


@pytest.fixture
def serving():
    """Make a configuration with frontends that answer by themselves, one for each address."""

    def text(*binds, head=""):
        frontends = "".join(
            f"frontend f{number}\n bind {bind}\n http-request return status 200\n"
            for number, bind in enumerate(binds, start=1)
        )
        return head + DEFAULTS + frontends

    return text
