# SPDX-License-Identifier: Apache-2.0
"""Two nodes and a client in network namespaces of their own on one bridge, and who holds what when."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import threading
import time
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from amphora.core.changes.journal import Journal
from amphora.core.changes.locks import InstanceLocks
from amphora.core.changes.operations import Operations
from amphora.core.workloads.vrrp import VrrpSettings, VrrpWorkload
from amphora.core.workloads.vrrp_files import VrrpFiles
from amphora.core.workloads.workload import WorkloadContext
from amphora.drivers.process_manager.standalone import StandaloneProcessManager
from amphora.keepalived.processes import KeepalivedProcesses
from amphora.keepalived.program import KeepalivedProgram
from amphora.models import RestartPolicy, Role
from amphora.system.addresses import addresses_in, remove_addresses
from amphora.system.command import CommandRunner
from amphora.system.namespaces import call_inside

COMMAND = Path("/usr/sbin/keepalived")
INTERFACE = "eth1"
ADVERT_INTERVAL = 0.06

#: Longer than a takeover takes, because a keepalived that starts again removes what its predecessor left.
RESTART_DELAY = 4.5 * ADVERT_INTERVAL

#: Families of a test to the VIPs of the pair; the first decides what VRRP itself speaks.
FAMILIES = {
    "v4": ("198.51.100.100",),
    "v6": ("2001:db8::100",),
    "dual": ("198.51.100.100", "2001:db8::100"),
}
PORT = 8080


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, timeout=10)


@dataclass(frozen=True)
class Place:
    """A namespace with one interface on the bridge."""

    namespace: str
    number: int

    @property
    def addresses(self):
        return (f"198.51.100.{self.number}/24", f"2001:db8::{self.number}/64")

    def make(self, switch):
        port = f"p{self.number}"
        ip("netns", "add", self.namespace)
        ip("-n", self.namespace, "link", "set", "lo", "up")
        # fmt: off
        ip("link", "add", INTERFACE, "netns", self.namespace, "type", "veth",
           "peer", "name", port, "netns", switch)
        # fmt: on
        ip("-n", switch, "link", "set", port, "master", "br0", "up")
        ip("-n", self.namespace, "link", "set", INTERFACE, "up")
        for address in self.addresses:
            nodad = ("nodad",) if ":" in address else ()
            ip("-n", self.namespace, "addr", "add", address, "dev", INTERFACE, *nodad)


class Network:
    """The bridge, two places for nodes and one for a client."""

    def __init__(self):
        self.prefix = f"amp-vrrp-{os.getpid()}-{secrets.token_hex(2)}"
        self.switch = f"{self.prefix}-sw"
        self.nodes = (Place(f"{self.prefix}-1", 11), Place(f"{self.prefix}-2", 12))
        self.client = Place(f"{self.prefix}-c", 50)

    def __enter__(self):
        try:
            ip("netns", "add", self.switch)
            options = ("type", "bridge", "forward_delay", "0", "mcast_snooping", "0")
            ip("-n", self.switch, "link", "add", "br0", *options)
            ip("-n", self.switch, "link", "set", "br0", "up")
            for place in (*self.nodes, self.client):
                place.make(self.switch)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for name in (self.switch, *(place.namespace for place in (*self.nodes, self.client))):
            subprocess.run(["ip", "netns", "del", name], timeout=10, capture_output=True)

    def set_link(self, node, state):
        ip("-n", self.switch, "link", "set", f"p{node.number}", state)


def configuration(vips, priority, interval=ADVERT_INTERVAL, extra="", interface=INTERFACE):
    """Return a configuration as a controller would send it, with fast adverts."""
    first = ip_address(vips[0])
    same = [vip for vip in vips if ip_address(vip).version == first.version]
    other = [vip for vip in vips if vip not in same]
    excluded = "\n".join(["  virtual_ipaddress_excluded {", *other, "  }"]) if other else ""
    return f"""\
! Configuration of the pair
vrrp_instance pair {{
  state BACKUP
  nopreempt
  version 3
  interface {interface}
  virtual_router_id 51
  priority {priority}
  advert_int {interval}
  virtual_ipaddress {{
    {chr(10).join(same)}
  }}
  {excluded}
  {extra}
}}
""".encode()


class Node:
    """One amphora's VRRP: our core over real keepalived, run by the standalone process manager."""

    def __init__(self, place: Place, directory: Path) -> None:
        self.place = place
        self.namespace = place.namespace
        self.layout = VrrpFiles(directory)
        self._state_directory = directory / "services"
        directory.mkdir(exist_ok=True)
        self.processes = KeepalivedProcesses(
            self.layout.pid_file, self.layout.vrrp_pid_file, self.layout.overlay, self.layout.stored
        )
        self.boot()

    def boot(self):
        """Be a new agent that finds what the last one left."""
        self.services = self._manager()
        operations = Operations(Journal(self.layout.directory / "operations"))
        operations.recover()
        self.vrrp = VrrpWorkload(
            self.layout,
            WorkloadContext(self.services, operations, InstanceLocks(5.0)),
            KeepalivedProgram(COMMAND, CommandRunner()),
            VrrpSettings(self.namespace, 8.0, RestartPolicy(delay=RESTART_DELAY)),
        )
        self.services.supervise()
        self.vrrp.recover()

    def end_agent(self):
        self.services.close()
        self.vrrp.close()

    def clean_up(self):
        self.end_agent()
        # In order it would take a second, as keepalived waits for its last advert to get out.
        running = [each for each in (self.processes.vrrp(), self.processes.main()) if each]
        if running:
            self.kill(*running)
        manager = self._manager()
        manager.remove(self.layout.service_name)
        manager.close()
        for held in addresses_in(self.namespace):
            if without_prefix(held) in {vip for vips in FAMILIES.values() for vip in vips}:
                remove_addresses(self.namespace, [held])

    def _manager(self):
        # Every crash counts as the first, so that many of them do not make restarts slow.
        return StandaloneProcessManager(self._state_directory, CommandRunner(), stable_after=0.0)

    def kill(self, *which):
        """End both processes at once, as the kernel's out-of-memory killer might, or those given."""
        doomed = which or (self.processes.vrrp(), self.processes.main())
        assert all(doomed), "there is no keepalived to kill"
        for each in doomed:
            # Stopped first, so that neither sees the other's end.
            with contextlib.suppress(ProcessLookupError):
                os.kill(each.pid, signal.SIGSTOP)
        for each in doomed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(each.pid, signal.SIGKILL)

    def holds(self, vips):
        held = {without_prefix(each) for each in addresses_in(self.namespace)}
        return held & set(vips)

    def log(self):
        return (self._state_directory / f"{self.layout.service_name}.log").read_text()


class Pair:
    """Two nodes that share VIPs, and a client."""

    def __init__(self, network, directory, vips):
        self.network = network
        self.vips = vips
        self.nodes = [Node(place, directory / str(number)) for number, place in enumerate(network.nodes)]
        self.client = Client(network.client)

    def start(self):
        """Start both from uploaded configurations; the first one becomes master."""
        for node, priority in zip(self.nodes, (100, 90), strict=True):
            node.vrrp.upload(configuration(self.vips, priority))
            node.vrrp.start()
        self.wait_for_roles(self.nodes[0])
        return self

    def wait_for_roles(self, active, seconds=5.0):
        """Return the seconds until both nodes tell what they are and hold what they should."""
        (standby,) = (node for node in self.nodes if node is not active)

        def settled():
            roles = active.vrrp.role(), standby.vrrp.role()
            holders = active.holds(self.vips), standby.holds(self.vips)
            return roles == (Role.ACTIVE, Role.STANDBY) and holders == (set(self.vips), set())

        return eventually(settled, f"{active.namespace} becomes the only master", seconds)

    def clean_up(self):
        for node in self.nodes:
            node.clean_up()


class Sampler:
    """Asks both kernels again and again who holds the VIPs, and remembers when both did."""

    def __init__(self, nodes, vips):
        self._nodes = nodes
        self._vips = vips
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.samples = 0
        self.doubles = []

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ends.set()
        self._thread.join()

    def _run(self):
        first, second = self._nodes
        while not self._ends.wait(0.002):
            both = first.holds(self._vips) & second.holds(self._vips)
            # The second look at the first rules out that it moved between the two.
            if both and both & first.holds(self._vips):
                self.doubles.append((time.monotonic(), both))
            self.samples += 1


class NameServers:
    """A TCP server on all addresses of each node, VIPs that arrive later included."""

    def __init__(self, places):
        self._sockets = [call_inside(place.namespace, self._listening) for place in places]
        self._threads = [
            threading.Thread(target=self._serve, args=(sock, place.namespace.encode()))
            for sock, place in zip(self._sockets, places, strict=True)
        ]
        for thread in self._threads:
            thread.start()

    @staticmethod
    def _listening():
        return socket.create_server(("::", PORT), family=socket.AF_INET6, dualstack_ipv6=True)

    @staticmethod
    def _serve(sock, name):
        while True:
            try:
                connection, _ = sock.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.sendall(name)

    def close(self):
        for sock in self._sockets:
            # Closing alone does not wake a thread that waits in accept().
            sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(2)
        for sock in self._sockets:
            sock.close()


class Client:
    """Asks the VIPs who they are."""

    def __init__(self, place):
        self._place = place

    def ask(self, vip, timeout=0.1):
        """Return the name of the node that answers on a VIP, or None."""

        def exchange():
            try:
                with socket.create_connection((vip, PORT), timeout) as connection:
                    return connection.recv(64).decode()
            except OSError:
                return None

        return call_inside(self._place.namespace, exchange)

    def wait_for(self, vips, namespace, seconds):
        """Return the seconds until all VIPs are answered by one node; fail after so many."""
        begun = time.monotonic()
        while True:
            answers = {vip: self.ask(vip) for vip in vips}
            taken = time.monotonic() - begun
            if set(answers.values()) == {namespace}:
                return taken
            assert taken < seconds, f"after {taken:.2f} s the VIPs are answered so: {answers}"


def eventually(question, what, seconds=5.0):
    """Return the seconds until a question is answered with something true."""
    begun = time.monotonic()
    while not question():
        assert time.monotonic() - begun < seconds, f"not in {seconds} s: {what}"
        time.sleep(0.005)
    return time.monotonic() - begun


def without_prefix(held):
    return str(held.address.ip)
