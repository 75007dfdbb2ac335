# SPDX-License-Identifier: Apache-2.0
"""A booted amphora laid out as Octavia's own image, its ports, its controller, its clients and members.

Of the image are the units, paths and links that its elements make; Octavia's own agent is the real one, in
a virtual environment with the rest of Octavia. Ours is put beside it by pip and its unit alone. The
certificates' file system is made anew at each boot on a block device in memory.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from amphora.system.namespaces import call_inside
from amphora.testing.agent_client import AMPHORA_ID, AgentClient
from amphora.testing.pki import Pki
from tests.interop import rig
from tests.interop.driver import Controller
from tests.interop.environments import interpreter
from tests.interop.members import Members
from tests.interop.rig import ip
from tests.interop.visits import Visitor
from tests.support.block_devices import ram_disk
from tests.support.nspawn import REPOSITORY, Machine, booted_machine
from tests.support.vrrp_pair import eventually

MANAGEMENT = "192.0.2.10"
_MANAGEMENT_MAC = rig.VIP_MAC[:-2] + "09"

_COMMANDS = (
    "amphora-agent",
    "amphora-health-checker",
    "amphora-interface",
    "haproxy-vrrp-check",
    "prometheus-proxy",
)
# The element finds the directory by this option's name in the agent's configuration as well.
_CERTS = """[Unit]
Description=File system of certificates in memory
Before=amphora-agent.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -ec 'where=$$(sed -n "s/^base_cert_dir = //p" /etc/octavia/amphora-agent.conf); \\
    mkdir -p "$$where"; mkfs.ext2 -q -F {device}; mount -t ext2 {device} "$$where"'
"""
_OCTAVIAS_AGENT = """[Unit]
Description=Octavia's agent of this amphora
After=network.target certs-ramfs.service
Requires=certs-ramfs.service
[Service]
ExecStart=/usr/local/bin/amphora-agent --config-file /etc/octavia/amphora-agent.conf
ExecStartPost=/bin/sh -c "echo $MAINPID > /run/amphora-agent.pid"
KillMode=mixed
Restart=always
PIDFile=/run/amphora-agent.pid
[Install]
WantedBy=multi-user.target
"""
# Links of a virtual machine are there when it is powered on; here they come a moment after its init.
_POWER_ON = """[Unit]
Description=Wait for the links that are plugged
DefaultDependencies=no
Before=sysinit.target
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'until [ $$(ls /sys/class/net | wc -l) -ge $$(cat /etc/links-at-power-on) ]; \
    do sleep 0.02; done'
[Install]
WantedBy=sysinit.target
"""
# Both agents and haproxy log to it.
_SYSLOG = """[Unit]
Description=Stands for rsyslog with the socket of load balancers
[Service]
ExecStart=/bin/sh -ec 'mkdir -p /run/rsyslog/octavia; \\
    exec socat -u UNIX-RECV:/run/rsyslog/octavia/log,mode=0666 /dev/null'
[Install]
WantedBy=multi-user.target
"""
_UNITS = Path("/usr/lib/systemd/system")


class Image:
    """The amphora. Its agent is Octavia's until :meth:`install_ours`.

    :param directory: on tmpfs; the machine sees it.
    :param disk: block device of the certificates.
    """

    def __init__(self, cloud: rig.Cloud, directory: Path, disk: Path) -> None:
        self.cloud = cloud
        self.directory = directory
        self.controllers = f"amp-iop-{os.getpid()}-ctl"
        self._disk = disk
        self._machine: Machine | None = None
        self._controller: Controller | None = None
        self._ports: dict[str, str] = {}
        self.pki = Pki(directory)
        self.pki.server(AMPHORA_ID, MANAGEMENT, file_name="server.pem", key="rsa")
        context = self.pki.client_context(self.pki.client("controller"))
        self.client = AgentClient(MANAGEMENT, 9443, context, lambda ask: call_inside(self.controllers, ask))

    @contextlib.contextmanager
    def booted(self) -> Iterator[None]:
        """Boot it with its management interface only, laid out; no agent runs yet."""
        environment = interpreter("newest").parents[1]
        ip("netns", "add", self.controllers)
        try:
            binds = [environment, self.directory, self._disk]
            with booted_machine("image", binds, plug=self._plug) as machine:
                self._machine = machine
                self._lay_out(environment)
                yield
        finally:
            if self._controller is not None:
                self._controller.close()
            ip("netns", "del", self.controllers)

    def run(self, *argv: str) -> str:
        """Run a command inside, which must succeed; return what it printed."""
        assert self._machine is not None
        done = self._machine.run(*argv)
        assert done.returncode == 0, f"{' '.join(argv)}: {done.returncode}\n{done.stdout}"
        return done.stdout

    def install_ours(self) -> None:
        """Put our agent in by pip, and its unit in the place of Octavia's; nothing else of ours."""
        venv = self.directory / "venv"
        if not venv.exists():
            _pip_install(venv)
        unit = venv / "share/amphora-agent/systemd/amphora-agent.service"
        self._replace_agent(venv / "bin/amphora-agent", unit.read_text())

    def install_octavias(self) -> None:
        """Go back to Octavia's agent as the documentation says: its program and its unit."""
        self.run("systemctl", "stop", "amphora-agent.service")
        self.run("sh", str(self.directory / "venv/share/amphora-agent/return-to-octavia"))
        self._replace_agent(interpreter("newest").with_name("amphora-agent"), _OCTAVIAS_AGENT)

    def start_agent(self) -> None:
        """Start the agent, now and with each boot."""
        unit = "amphora-agent.service"
        script = f"systemctl enable --now {unit} || {{ journalctl --no-pager -b -u {unit}; exit 1; }}"
        self.run("sh", "-c", script)
        self.wait_for_agent()

    def hold_agent_back(self) -> None:
        """Keep the agent from starting with the next boots. The one that runs goes on."""
        self.run("systemctl", "disable", "amphora-agent.service")

    def wait_for_agent(self) -> None:
        """Return once it answers its controller."""
        self.controller.info()

    def attach(self, mac: str, bridge: str) -> None:
        """Attach a port, which is there again at each boot."""
        assert self._machine is not None
        self._ports[mac] = bridge
        self._attach(self._machine.leader, mac, bridge)
        # Besides loopback and the management's.
        self._write("/etc/links-at-power-on", str(len(self._ports) + 2))

    def reboot(self) -> None:
        """Restart the machine in good order, with all ports in place."""
        assert self._machine is not None
        self._machine.reboot()

    @property
    def controller(self) -> Controller:
        """A controller in its own network, which has the agent's management address."""
        if self._controller is None:
            settings = self._controller_settings()
            log = self.directory / "controller.log"
            self._controller = call_inside(self.controllers, lambda: Controller("newest", settings, log))
        return self._controller

    def journal(self) -> str:
        """The end of what this boot has logged."""
        return self.run("journalctl", "--no-pager", "-b", "--lines=60")

    def _plug(self, leader: int) -> None:
        """Give the machine all its links, as a hypervisor does at power-on."""
        near = ("link", "add", "eth0", "netns", str(leader), "address", _MANAGEMENT_MAC, "type", "veth")
        ip(*near, "peer", "name", "amphora", "netns", self.controllers)
        ip("-n", self.controllers, "addr", "add", "192.0.2.1/24", "dev", "amphora")
        ip("-n", self.controllers, "link", "set", "amphora", "up")
        # What cloud-init does in an image.
        for words in (("addr", "add", f"{MANAGEMENT}/24", "dev", "eth0"), ("link", "set", "eth0", "up")):
            call_inside(f"/proc/{leader}/ns/net", lambda words=words: ip(*words))
        for mac, bridge in self._ports.items():
            self._attach(leader, mac, bridge)

    def _attach(self, leader: int, mac: str, bridge: str) -> None:
        place, switch = list(self._ports).index(mac), self.cloud.switch
        near = ("link", "add", f"ens{place}", "netns", str(leader), "address", mac, "type", "veth")
        ip(*near, "peer", "name", f"port{place}", "netns", switch)
        ip("-n", switch, "link", "set", f"port{place}", "master", bridge, "up")

    def _lay_out(self, environment: Path) -> None:
        self.run("mkdir", "-p", "/etc/octavia/certs", "/var/lib/octavia", "/usr/local/bin")
        for command in _COMMANDS:
            self.run("ln", "-s", str(environment / "bin" / command), f"/usr/local/bin/{command}")
        self._write("/usr/local/bin/lvs-masquerade.sh", "#!/bin/sh\nexit 0\n", "0755")
        self._write(
            "/etc/sysctl.d/60-octavia.conf", "net.ipv4.ip_nonlocal_bind=1\nnet.ipv6.ip_nonlocal_bind=1\n"
        )
        self._write("/var/lib/octavia/haproxy-default-user-group.conf", "global\n    group nogroup\n")
        self.run("sh", "-c", "echo 127.0.1.1 $(hostname) >> /etc/hosts")
        self._write(f"{_UNITS}/certs-ramfs.service", _CERTS.format(device=self._disk))
        self._write(f"{_UNITS}/rsyslog.service", _SYSLOG)
        self._write("/etc/systemd/system/power-on.service", _POWER_ON)
        self._write("/etc/links-at-power-on", "2")
        self._write(f"{_UNITS}/amphora-agent.service", _OCTAVIAS_AGENT)
        # As a controller has cloud-init write it.
        configuration = self.controller.agent_configuration(topology="SINGLE", changes={})
        self._write("/etc/octavia/amphora-agent.conf", configuration)
        for source, target in ((self.pki.ca_path.name, "client_ca.pem"), ("server.pem", "server.pem")):
            self.run("cp", str(self.directory / source), f"/etc/octavia/certs/{target}")
        self.run("systemctl", "daemon-reload")
        self.run("systemctl", "enable", "--now", "rsyslog.service", "power-on.service")

    def _write(self, path: str, text: str, mode: str = "0644") -> None:
        assert self._machine is not None
        script = 'printf %s "$TEXT" > "$0" && chmod "$1" "$0"'
        done = self._machine.run("sh", "-c", script, path, mode, TEXT=text)
        assert done.returncode == 0, done.stdout

    def _replace_agent(self, program: Path, unit: str) -> None:
        self.run("ln", "-sfn", str(program), "/usr/local/bin/amphora-agent")
        self._write(f"{_UNITS}/amphora-agent.service", unit)
        self.run("systemctl", "daemon-reload")

    def _controller_settings(self) -> dict[str, object]:
        return {
            "amphora": {
                "id": AMPHORA_ID,
                "lb_network_ip": MANAGEMENT,
                "vrrp_ip": rig.VRRP_IP,
                "ha_ip": rig.VIP,
                "vrrp_port_id": "vip-port",
                "role": "MASTER",
            },
            "haproxy_amphora": {
                "client_cert": str(self.directory / "client.pem"),
                "server_ca": str(self.pki.ca_path),
                "connection_max_retries": 60,
                "connection_retry_interval": 1,
            },
            "certificates": {"cert_manager": "local_cert_manager", "storage_path": str(self.directory)},
            "health_manager": {
                "heartbeat_key": rig.HEARTBEAT_KEY,
                "controller_ip_port_list": ["192.0.2.1:5555"],
            },
        }


@contextlib.contextmanager
def octavia_image() -> Iterator[tuple[Image, Members, Visitor]]:
    """Boot such an amphora with members and a client around it."""
    directory = Path(tempfile.mkdtemp(prefix="img-", dir="/dev/shm"))
    try:
        with ram_disk(directory) as disk, rig.Cloud() as cloud:
            members = Members(cloud.members, directory)
            try:
                image = Image(cloud, directory, disk)
                with image.booted():
                    yield image, members, Visitor(cloud.client)
            finally:
                members.close()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _pip_install(venv: Path) -> None:
    """Install this checkout, and what it needs, into a new virtual environment."""
    python = Path(sys.base_prefix, "bin", f"python{sys.version_info.major}")
    source = venv.with_name("source")
    listed = _run("git", "-C", str(REPOSITORY), "ls-files", "--cached", "--others", "--exclude-standard")
    for name in listed.splitlines():
        if (REPOSITORY / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(REPOSITORY / name, source / name)
    _run(str(python), "-m", "venv", str(venv))
    _run(str(venv / "bin/pip"), "install", "--quiet", "--disable-pip-version-check", str(source))


def _run(*argv: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
        # The copy has no history for pbr to take the version from.
        env=environment | {"PBR_VERSION": "1.0.0"},
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def wait_for_traffic(visitor: Visitor, port: int, seconds: float = 30.0) -> None:
    """Return once a visit is answered by a member."""

    def answered() -> bool:
        with contextlib.suppress(OSError):
            return bool(visitor.get(port).status == 200)
        return False

    eventually(answered, f"traffic on port {port}", seconds)
