# SPDX-License-Identifier: Apache-2.0
"""An agent installed on a booted machine as its package would be, and what a controller does with it."""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from pathlib import Path

from amphora.errors import OperationFailed
from amphora.system.namespaces import call_inside, enter
from amphora.testing.agent_client import AMPHORA_ID, AgentClient
from amphora.testing.member import Member
from amphora.testing.pki import Pki
from tests.support.listeners import configuration
from tests.support.traffic import Load, request_once

PORT = 9443
MEMBER_PORT = 8081

_CONFIGURATION = f"""\
[haproxy_amphora]
base_path = /var/lib/octavia
base_cert_dir = /run/octavia/certs
bind_host = 127.0.0.1
bind_port = {PORT}

[amphora_agent]
agent_server_ca = /etc/octavia/certs/client_ca.pem
agent_server_cert = /etc/octavia/certs/server.pem
amphora_id = {AMPHORA_ID}
"""


def wait_until(condition, seconds=30.0, what="it"):
    """Return the first true result of a condition."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen in {seconds} s"
        time.sleep(0.02)
    return result


class Installation:
    """The agent, its configuration and its certificates on one machine; members beside it.

    :param machine: booted.
    :param init: knows how this machine's init system installs and runs the agent.
    :param scratch: directory of this test that the machine sees, for the PKI.
    """

    def __init__(self, machine, init, scratch: Path):
        self.machine = machine
        self.init = init
        pki = Pki(scratch)
        pki.server("127.0.0.1", file_name="server.pem")
        shutil.copyfile(pki.ca_path, scratch / "client_ca.pem")
        (scratch / "amphora-agent.conf").write_text(_CONFIGURATION)
        context = pki.client_context(pki.client("controller"))
        self.client = AgentClient("127.0.0.1", PORT, context, inside=self._in_machine)
        self._scratch = scratch
        self._member = None

    def install(self):
        """Put the agent's files in place and start it as the machine's init system would."""
        script = (
            "mkdir -p /etc/octavia/certs /usr/local/bin && "
            f"cp {self._scratch}/*.pem /etc/octavia/certs/ && "
            f"cp {self._scratch}/amphora-agent.conf /etc/octavia/ && "
            f"ln -sf {Path(sys.executable).with_name('amphora-agent')} /usr/local/bin/amphora-agent"
        )
        self.run("sh", "-c", script)
        self.init.install(self)
        self.wait_until_serving()

    def run(self, *argv, seconds=60.0):
        """Run a command in the machine, which must succeed; return what it printed."""
        done = self.machine.run(*argv, seconds=seconds)
        assert done.returncode == 0, f"{' '.join(argv)}: {done.returncode}\n{done.stdout}"
        return done.stdout

    def wait_until_serving(self):
        """Return once the agent answers."""
        wait_until(self._answers, what="an answer of the agent")

    def restart_agent(self):
        """Restart it by the init system's own command."""
        before = self.agent_pid()
        self.init.restart(self)
        wait_until(lambda: self._runs_anew(before), what="a new agent")
        self.wait_until_serving()

    def agent_pid(self):
        """Process id of the agent inside, or None."""
        found = self.machine.run("pgrep", "-o", "-f", "amphora-agent --config-file").stdout.split()
        return int(found[0]) if found else None

    def start_member(self):
        """Start the member that configurations of :meth:`listener` name."""
        self.stop_member()
        self._member = wait_until(self._new_member, what="the namespace of tenant traffic")

    def stop_member(self):
        """Stop it, if it runs."""
        if self._member is not None:
            self._member.close()
        self._member = None

    def listener(self, listener_id, port):
        """Upload and start a listener on a port of the tenant's loopback."""
        body = configuration(listener_id, [f"127.0.0.1:{port}"], MEMBER_PORT)
        answer = self.client.upload(listener_id, body)
        assert answer.status == 201, answer.body
        self.start_member()
        answer = self.client.act(listener_id, "start")
        assert answer.status == 202, answer.body

    def status(self, listener_id):
        """Status of a listener as the agent tells it."""
        return self.client.call("GET", f"/v0.1/listeners/{listener_id}").json["status"]

    def haproxy_pid(self, listener_id):
        """Process id of a listener's master process inside, or None while there is none."""
        found = self.machine.run("cat", f"/var/lib/octavia/{listener_id}/{listener_id}.pid")
        return int(found.stdout.split()[0]) if found.returncode == 0 and found.stdout.strip() else None

    def load(self, port):
        """Clients of a listener."""
        return Load(port, enter=self._enter_tenant)

    def serves(self, port):
        """Whether a listener answers one request now."""
        with contextlib.suppress(OperationFailed):
            return call_inside(self._tenant, lambda: request_once(port, timeout=2)) is None
        return False

    def boot_to_traffic(self, port, boot):
        """Boot the machine by ``boot``, with its member, and return seconds until traffic is served."""
        self.stop_member()
        began = time.monotonic()
        boot()
        self.start_member()
        wait_until(lambda: self.serves(port), what="traffic after the boot")
        return time.monotonic() - began

    @property
    def _tenant(self):
        return f"/proc/{self.machine.leader}/root/run/netns/amphora-haproxy"

    def _enter_tenant(self):
        enter(self._tenant)

    def _in_machine(self, exchange):
        return call_inside(f"/proc/{self.machine.leader}/ns/net", exchange)

    def _new_member(self):
        with contextlib.suppress(OperationFailed, OSError):
            return call_inside(self._tenant, lambda: Member(port=MEMBER_PORT))
        return None

    def _answers(self):
        with contextlib.suppress(OSError):
            return self.client.call("GET", "/info", timeout=5).status == 200
        return False

    def _runs_anew(self, before):
        return self.agent_pid() not in (None, before)
