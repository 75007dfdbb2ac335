# SPDX-License-Identifier: Apache-2.0
"""A cloud in small: an amphora with its agent, a hypervisor that attaches ports, clients and members.

::

    agent -- data namespace: eth1 -- bridge -- client 203.0.113.50
                                          `--- router .1, .5 -- far 198.51.100.10, 192.0.2.10
                             eth2 -- bridge -- members 10.0.0.11, .12, and 10.9.0.5 by a route
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from amphora.system.namespaces import call_inside, write_sysctls
from amphora.testing.agent import AgentProcess, free_port
from amphora.testing.agent_client import AMPHORA_ID
from tests.interop.driver import Controller

VIP, VIP6, VRRP_IP = "203.0.113.2", "2001:db8::2", "203.0.113.4"
CLIENT, FAR, FARTHER = "203.0.113.50", "198.51.100.10", "192.0.2.10"
MEMBERS = ("10.0.0.11", "10.0.0.12")
ROUTED_MEMBER = "10.9.0.5"
# Agents find ports by these among all links of this machine, where other tests may have theirs.
VIP_MAC, MEMBER_MAC = (
    f"fa:16:3e:{os.getpid() // 256 % 256:02x}:{os.getpid() % 256:02x}:{n:02x}" for n in (1, 2)
)
HEARTBEAT_KEY = "correct-horse-battery-staple-0042"

SUBNET = {
    "cidr": "203.0.113.0/24",
    "gateway_ip": "203.0.113.1",
    "host_routes": [{"destination": "198.51.100.0/24", "nexthop": "203.0.113.5"}],
}
SUBNET6 = {"cidr": "2001:db8::/64", "gateway_ip": "2001:db8::1", "host_routes": []}
ADDITIONAL = [{"ip_address": VIP6, "subnet": SUBNET6}]
VIP_PORT = {"id": "vip-port", "mac_address": VIP_MAC, "mtu": 1450}
MEMBER_PORT = {
    "id": "member-port",
    "mac_address": MEMBER_MAC,
    "mtu": 1450,
    "fixed_ips": [
        {
            "ip_address": "10.0.0.5",
            "subnet": {
                "cidr": "10.0.0.0/24",
                "gateway_ip": "10.0.0.1",
                "host_routes": [{"destination": "10.9.0.0/24", "nexthop": "10.0.0.9"}],
            },
        }
    ],
}


def ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, timeout=10, capture_output=True, text=True).stdout


class Cloud:
    """Everything around the amphora; namespaces are made on entry and removed at the end."""

    def __init__(self) -> None:
        prefix = f"amp-iop-{os.getpid()}"
        self.data, self.switch, self.client, self.router, self.far, self.members = (
            f"{prefix}-{name}" for name in ("data", "sw", "cl", "rt", "far", "mem")
        )
        self._links: list[str] = []

    def __enter__(self) -> Cloud:
        try:
            self._build()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for name in self._links:
            subprocess.run(["ip", "link", "del", name], timeout=10, capture_output=True, check=False)
        for name in (self.data, self.switch, self.client, self.router, self.far, self.members):
            subprocess.run(["ip", "netns", "del", name], timeout=10, capture_output=True, check=False)

    def attach(self, mac: str, bridge: str) -> None:
        """Attach a port to the amphora as a hypervisor does: a link with that address turns up."""
        name = f"iop{os.getpid() % 1000000}{len(self._links)}"
        self._links.append(name)
        peer = f"amp{len(self._links)}"
        ip("link", "add", name, "address", mac, "type", "veth", "peer", "name", peer, "netns", self.switch)
        ip("-n", self.switch, "link", "set", peer, "master", bridge, "up")

    def _build(self) -> None:
        # The data namespace too: the agent's own mounts are not seen here.
        for name in (self.data, self.switch, self.client, self.router, self.far, self.members):
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        for bridge in ("br-vip", "br-mem"):
            options = ("type", "bridge", "forward_delay", "0", "mcast_snooping", "0")
            ip("-n", self.switch, "link", "add", bridge, *options)
            ip("-n", self.switch, "link", "set", bridge, "up")
        self._place(self.client, "br-vip", f"{CLIENT}/24", "2001:db8::50/64")
        self._place(self.router, "br-vip", "203.0.113.1/24", "203.0.113.5/24", "2001:db8::1/64")
        self._place(self.members, "br-mem", *(f"{member}/24" for member in MEMBERS), "10.0.0.9/24")
        ip("-n", self.members, "addr", "add", f"{ROUTED_MEMBER}/32", "dev", "lo")
        self._connect_far_clients()

    def _place(self, namespace: str, bridge: str, *addresses: str) -> None:
        port = f"p-{namespace.rpartition('-')[2]}"
        ip(
            "link",
            "add",
            "eth0",
            "netns",
            namespace,
            "type",
            "veth",
            "peer",
            "name",
            port,
            "netns",
            self.switch,
        )
        ip("-n", self.switch, "link", "set", port, "master", bridge, "up")
        ip("-n", namespace, "link", "set", "eth0", "up")
        for address in addresses:
            nodad = ("nodad",) if ":" in address else ()
            ip("-n", namespace, "addr", "add", address, "dev", "eth0", *nodad)

    def _connect_far_clients(self) -> None:
        ip(
            "link",
            "add",
            "far0",
            "netns",
            self.router,
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            self.far,
        )
        for namespace, device in ((self.router, "far0"), (self.far, "eth0")):
            ip("-n", namespace, "link", "set", device, "up")
        for near, far in (("198.51.100.1/24", f"{FAR}/24"), ("192.0.2.1/24", f"{FARTHER}/24")):
            ip("-n", self.router, "addr", "add", near, "dev", "far0")
            ip("-n", self.far, "addr", "add", far, "dev", "eth0")
        ip("-n", self.far, "route", "add", "203.0.113.0/24", "via", "198.51.100.1")
        call_inside(self.router, lambda: write_sysctls({"net/ipv4/ip_forward": "1"}))


def _in_a_small_machine(directory: Path) -> list[str]:
    """Return what to run as an agent in a machine of 1 GiB.

    Controllers give haproxy a share of the memory that an amphora has free, which on this machine may be
    many gigabytes that each check of a configuration would take.
    """
    memory = directory / "meminfo"
    sizes = {
        "MemTotal": 1000000,
        "MemFree": 500000,
        "MemAvailable": 600000,
        "Buffers": 10000,
        "Cached": 100000,
    }
    sizes |= dict.fromkeys(("SwapCached", "Shmem", "Slab"), 1000)
    memory.write_text("".join(f"{name}: {size:>10} kB\n" for name, size in sizes.items()))
    agent = Path(sys.executable).with_name("amphora-agent")
    script = f'mount --bind {memory} /proc/meminfo && exec {agent} "$@"'
    return ["unshare", "--mount", "sh", "-c", script, "sh"]


class Amphora:
    """An agent over a directory, with the certificate that a controller expects, and its controllers."""

    def __init__(self, directory: Path, cloud: Cloud, topology: str = "SINGLE") -> None:
        self.directory = directory
        self.cloud = cloud
        self._controllers: list[Controller] = []
        self.heartbeat_port = free_port()
        certificate = directory / "amphora.pem"
        self._agent_options: dict[str, dict[str, object]] = {
            "network": {"namespace": cloud.data},
            "drivers": {"process_manager": "standalone", "network": "pyroute2"},
            "amphora_agent": {
                "agent_server_network_dir": directory / "interfaces",
                "agent_server_cert": certificate,
            },
            "controller_worker": {"loadbalancer_topology": topology},
            "health_manager": {
                "controller_ip_port_list": f"127.0.0.1:{self.heartbeat_port}",
                "heartbeat_key": HEARTBEAT_KEY,
                "heartbeat_interval": 1,
            },
        }
        self.agent = AgentProcess(directory, self._agent_options, _in_a_small_machine(directory))
        certificate.write_bytes(self.new_certificate())
        self.agent.start()

    def new_certificate(self) -> bytes:
        """Return a certificate and key as a controller makes them for this amphora."""
        return self.agent.pki.server(
            AMPHORA_ID, "127.0.0.1", file_name="issued.pem", key="rsa"
        ).path.read_bytes()

    def own_sections(self) -> str:
        """Return what the agent's configuration here has and a controller's rendering has not."""
        drivers = "\n".join(f"{name} = {value}" for name, value in self._agent_options["drivers"].items())
        return f"\n[network]\nnamespace = {self.cloud.data}\n[drivers]\n{drivers}\n"

    def controller(self, kind: str) -> Controller:
        """Start a controller that knows this amphora; it ends with the amphora."""
        controller = Controller(kind, self._controller_settings(), self.directory / f"{kind}.log")
        self._controllers.append(controller)
        return controller

    def clean_up(self) -> None:
        for controller in self._controllers:
            controller.close()
        self.agent.call("PUT", "/1.0/vrrp/stop")
        self.agent.clean_up()

    def _controller_settings(self) -> dict[str, Any]:
        keys = self.directory / "keys"
        keys.mkdir(exist_ok=True)
        return {
            "amphora": {
                "id": AMPHORA_ID,
                "lb_network_ip": "127.0.0.1",
                "vrrp_ip": VRRP_IP,
                "ha_ip": VIP,
                "vrrp_port_id": "vip-port",
                "role": "MASTER",
            },
            "haproxy_amphora": {
                "bind_host": "127.0.0.1",
                "bind_port": self.agent.port,
                "client_cert": str(self.agent.client.path),
                "server_ca": str(self.agent.pki.ca_path),
                "base_path": str(self.agent.base_path),
                "base_cert_dir": str(self.directory / "certs"),
                "connection_max_retries": 5,
                "connection_retry_interval": 1,
            },
            "certificates": {"cert_manager": "local_cert_manager", "storage_path": str(keys)},
            "amphora_agent": {
                "agent_server_ca": str(self.agent.pki.ca_path),
                "agent_server_cert": str(self.directory / "amphora.pem"),
                "agent_server_network_dir": str(self.directory / "interfaces"),
            },
            "health_manager": {
                "bind_ip": "127.0.0.1",
                "bind_port": self.heartbeat_port,
                "heartbeat_key": HEARTBEAT_KEY,
                "controller_ip_port_list": [f"127.0.0.1:{self.heartbeat_port}"],
                "heartbeat_interval": 1,
            },
            "keepalived_vrrp": {"vrrp_check_interval": 1},
        }
