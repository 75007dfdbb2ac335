# SPDX-License-Identifier: Apache-2.0
"""Real haproxies that carry counted bytes, and heartbeats about them."""

import contextlib
import json
import signal
import socket
import subprocess
import threading

import pytest

from amphora.core.workloads.haproxy_files import HaproxyDirectory
from amphora.health.counter_deltas import CounterStore
from amphora.health.haproxy_source import HaproxySource
from amphora.health.heartbeat import Heartbeat, HeartbeatSettings
from amphora.testing.agent import free_port
from tests.support.heartbeats import AMPHORA_ID, KEY, Receiver


class Echo:
    """Sends back what it gets."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(65536):
                connection.sendall(data)

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)


class Client:
    """A connection through a load balancer."""

    def __init__(self, port):
        self._socket = socket.create_connection(("127.0.0.1", port), 10)

    def exchange(self, count):
        """Send so many bytes and wait until they have come back."""
        self._socket.sendall(b"x" * count)
        while count:
            got = len(self._socket.recv(count))
            assert got, "closed by the load balancer"
            count -= got

    def close(self):
        self._socket.close()


class Balancer:
    """One haproxy as an instance below a base path, with as many TCP listeners as wanted."""

    def __init__(self, base_path, number, member_port, listeners=1, check="check inter 200ms"):
        self.layout = HaproxyDirectory(base_path).files(f"{number:08d}-5862-4a13-b9e3-9b440d0ed50a")
        self.layout.directory.mkdir()
        self.ports = {f"{number:04d}{index:04d}-aaaa": free_port() for index in range(listeners)}
        sections = "".join(
            f"frontend {name}\n bind 127.0.0.1:{port}\n default_backend pool:{name}\n"
            f"backend pool:{name}\n server member 127.0.0.1:{member_port} {check} fall 1 rise 1\n"
            for name, port in self.ports.items()
        )
        self.layout.stored.write_text(
            f"global\n stats socket {self.layout.stats_socket} mode 600 level admin expose-fd listeners\n"
            "defaults\n mode tcp\n timeout client 60s\n timeout server 60s\n timeout connect 5s\n" + sections
        )
        self.process = None

    @property
    def listener(self):
        return next(iter(self.ports))

    @property
    def port(self):
        return self.ports[self.listener]

    def start(self):
        argv = ["haproxy", "-Ws", "-f", str(self.layout.stored)]
        self.process = subprocess.Popen(argv, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def reload(self):
        self.process.send_signal(signal.SIGUSR2)

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)
            self.process = None


class Monitor:
    """A heartbeat over a base path, its receiver, and the sums of what it told."""

    def __init__(self, base_path, interval=0.2):
        self.base_path = base_path
        self.interval = interval
        self.receiver = Receiver()
        self.sums = {}
        self.generations = {}
        self.heartbeat = None

    def start(self):
        self.heartbeat = Heartbeat(
            HeartbeatSettings((self.receiver.entry,), self.interval, KEY, AMPHORA_ID),
            (HaproxySource(HaproxyDirectory(self.base_path)),),
            CounterStore(self.base_path / "stats_counters.json"),
            lambda: False,
        )
        self.heartbeat.start()

    def stop(self):
        if self.heartbeat is not None:
            self.heartbeat.close()
            self.heartbeat = None
            # Those on their way count too.
            for message in self.receiver.waiting():
                self._add(message)

    def until(self, condition, timeout=30.0):
        """Add up all messages up to one that a condition holds for, and return that one."""
        return self.receiver.until(lambda message: self._add(message) and condition(message), timeout)[-1]

    def until_told(self, listener, received, connections):
        """Add up messages until so much has been told of a listener, and not a byte more with the next."""
        self.until(lambda _: self.sums.get(listener, (0,))[0] >= received)
        self.until(lambda _: True)
        assert self.sums[listener] == (received, received, connections)

    def until_serving(self, listener):
        self.until(lambda message: message["listeners"].get(listener, {}).get("status") == "OPEN")
        self.generations[listener] = self._generation(listener)

    def until_next_generation(self, listener):
        """Add up messages until another worker has been met than the one met last."""
        former = self.generations[listener]

        def is_another(_message):
            self.generations[listener] = self._generation(listener)
            return self.generations[listener] != former

        self.until(is_another)

    def _generation(self, listener):
        return json.loads((self.base_path / "stats_counters.json").read_text())[listener]["generation"]

    def _add(self, message):
        for name, listener in message["listeners"].items():
            stats, former = listener["stats"], self.sums.get(name, (0, 0, 0))
            new = (stats["rx"], stats["tx"], stats["totconns"])
            self.sums[name] = tuple(map(sum, zip(former, new, strict=True)))
        return True


@pytest.fixture
def echo():
    echo = Echo()
    yield echo
    echo.close()


@pytest.fixture
def make_balancer(short_dir, echo):
    made = []

    def make(member_port=None, start=True, **options):
        made.append(Balancer(short_dir, len(made), member_port or echo.port, **options))
        if start:
            made[-1].start()
        return made[-1]

    yield make
    for balancer in made:
        balancer.stop()


@pytest.fixture
def make_monitor(short_dir):
    made = []

    def make(start=True, **options):
        made.append(Monitor(short_dir, **options))
        if start:
            made[-1].start()
        return made[-1]

    yield make
    for monitor in made:
        monitor.stop()
        monitor.receiver.close()


@pytest.fixture
def make_client():
    made = []

    def make(port):
        made.append(Client(port))
        return made[-1]

    yield make
    for client in made:
        client.close()
