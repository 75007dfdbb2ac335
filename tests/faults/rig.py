# SPDX-License-Identifier: Apache-2.0
"""An agent whose files are on a small disk of their own, and that can be told which fault to meet."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from amphora.system.namespaces import enter
from amphora.testing.agent import AgentProcess
from tests.faults.faulty_agent import FILLER, ORDER, STRUCK
from tests.support.traffic import Load

SCRIPT = Path(__file__).with_name("faulty_agent.py")
OPERATIONS = "/extensions/operations"

#: Small enough to be filled at once.
_DISK_SIZE = "6m"
_BELOW_EPHEMERAL = range(12000, 32000)


def version(identity, port, marker):
    """Return a configuration that answers every request with a marker."""
    return f"""\
# {marker}
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend {identity}
    bind 127.0.0.1:{port}
    http-request return status 200 content-type text/plain string "{marker}"
""".encode()


def listening_port():
    """Return a port that nobody uses, and that no connection of the load is given by the kernel meanwhile."""
    for port in random.sample(_BELOW_EPHEMERAL, len(_BELOW_EPHEMERAL)):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("all ports are in use")


def served(port):
    """Return what answers on a port, or None where nothing does."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=3)
    try:
        connection.request("GET", "/", headers={"Connection": "close"})
        return connection.getresponse().read().decode()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def eventually(question, seconds=15.0):
    """Return what a question returns, asked until it returns nothing or the time is over."""
    deadline = time.monotonic() + seconds
    while (problem := question()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return problem


@contextlib.contextmanager
def rig_inside(namespace, options=None):
    """Give a rig whose tenant traffic is in a namespace, which is gone afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="amp-", dir="/dev/shm"))
    inside = {"network": {"namespace": namespace}}
    try:
        with (
            pytest.MonkeyPatch.context() as patch,
            Rig(directory, patch, inside | (options or {}), lambda: enter(namespace)) as rig,
        ):
            rig.namespace = namespace
            yield rig
    finally:
        subprocess.run(["ip", "netns", "del", namespace], timeout=10, capture_output=True)
        shutil.rmtree(directory, ignore_errors=True)


class Rig:
    """The agent, its disk, and a listener that no cell touches, under load.

    :param directory: on tmpfs, with a short path.
    :param enter: lets the calling thread be where tenant traffic is.
    """

    def __init__(self, directory, monkeypatch, options=None, enter=lambda: None):
        self._enter = enter
        monkeypatch.setenv("AMPHORA_TEST_FAULTS", str(directory))
        self.directory = directory
        self.disk = directory / "lb"
        self.disk.mkdir()
        self._options = {"haproxy_amphora": {"base_cert_dir": self.disk / "certs"}, **(options or {})}
        self.interfaces = self.disk / "interfaces"
        self.agent = AgentProcess(directory, self._options, [sys.executable, str(SCRIPT)])
        self.untouched = listening_port()
        self._numbers = itertools.count(1)
        self._load = None

    def __enter__(self):
        options = f"size={_DISK_SIZE},mode=755"
        for arguments in (["-t", "tmpfs", "-o", options, "amp-faults"], ["--make-private"]):
            subprocess.run(["mount", *arguments, self.disk], check=True, timeout=10)
        try:
            self._move_own_files()
            self.agent.start()
            identity = self.new_id()
            for answer in (
                self.agent.upload(identity, version(identity, self.untouched, "U")),
                self.agent.act(identity, "start"),
            ):
                assert answer.status < 300, answer.body
            self._load = Load(self.untouched, clients=2, enter=self._enter, pause=0.01).__enter__()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        try:
            if self._load is not None:
                self._load.__exit__()
            self.lift()
            self.agent.clean_up()
        finally:
            if self.agent.is_running():
                self.agent.kill()
            subprocess.run(["umount", "--lazy", self.disk], check=True, timeout=10)

    def _move_own_files(self):
        """Let the agent's own files be on the disk too."""
        own = self.disk / "own"
        own.mkdir()
        self.certificate = own / "server.pem"
        shutil.copy(self.agent.pki.server("127.0.0.1").path, self.certificate)
        self.agent.config_path = own / "amphora-agent.conf"
        own_options = {
            "amphora_agent": {
                "agent_server_cert": self.certificate,
                "agent_server_network_dir": self.interfaces,
            }
        }
        self.agent.configure({**self._options, **own_options})

    @property
    def lost(self):
        """Requests to the untouched listener that failed so far."""
        return self._load.failures

    def new_id(self):
        """Return an id that no instance had."""
        return f"{next(self._numbers):08x}-5862-4a13-b9e3-9b440d0ed50a"

    def order(self, scenario, cell):
        """Let the next change that a scenario names meet the faults of a cell."""
        (self.directory / STRUCK).unlink(missing_ok=True)
        kind, target = scenario.struck
        order = {
            "kind": kind,
            "target": target,
            "faults": cell.faults,
            "disk": str(self.disk),
            "pid_file": str(scenario.pid_file),
            "program": scenario.program,
        }
        new = self.directory / "ordering"
        new.write_text(json.dumps(order))
        new.rename(self.directory / ORDER)

    def was_struck(self):
        """Whether the fault has happened."""
        return (self.directory / STRUCK).exists()

    def lift(self):
        """Take away what the fault left: the disk has room again and can be written."""
        (self.directory / ORDER).unlink(missing_ok=True)
        mounted = Path("/proc/self/mountinfo").read_text().split().count(str(self.disk))
        for _ in range(mounted - 1):
            # Lazily: something that was begun meanwhile may have a file open there.
            subprocess.run(["umount", "--lazy", self.disk], check=True, timeout=10)
        (self.disk / FILLER).unlink(missing_ok=True)

    def restart(self):
        """Let a new agent settle what the last one left."""
        if self.agent.is_running():
            self.agent.kill()
        self.agent.start()

    def attempt(self, request):
        """Return the answer to a request, or None where the agent died over it."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            return request()
        return None

    def log(self):
        """Return the end of the agent's log without what the test itself asked."""
        lines = self.agent.log_tail(400).splitlines()
        return "\n".join([line for line in lines if "127.0.0.1 GET" not in line][-30:])

    def reported(self, scenario, identity=None):
        """Return what the agent tells of a change, else of the last one of a kind to its target, or None."""
        change = (scenario.kind, scenario.target)
        told = self.agent.call("GET", OPERATIONS).json["operations"]
        such = [each for each in told if (each["kind"], each["target"]) == change]
        known = [each for each in such if each["id"] == identity] or such
        return known[-1] if known else None
