# SPDX-License-Identifier: Apache-2.0
"""What Octavia's own agent leaves on a machine: files, units, a port in its namespace, and what runs there.

Files, modes, names and arguments are those of that agent; it is not installed. For tests inside a machine.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path

from tests.functional.service.installed_agent import must, run

NAMESPACE = "amphora-haproxy"
BASE = Path("/var/lib/octavia")
PEER = "AKyjUX7exN73rl7_5RLzyrLJ5Qg"
VIP, MAC = "203.0.113.2", "fa:16:3e:00:00:01"
KEEPALIVED = BASE / "vrrp/octavia-keepalived.conf"
KEEPALIVED_SERVICE = "octavia-keepalived.service"

NAMESPACE_UNIT = f"""[Unit]
Description=Configure the namespace of the amphora
StopWhenUnneeded=true
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=-/sbin/ip netns add {NAMESPACE}
ExecStart=-/sbin/ip -n {NAMESPACE} link set lo up
ExecStart=-/sbin/ip netns exec {NAMESPACE} sysctl -w net.ipv4.ip_nonlocal_bind=1
"""
_HAPROXY_UNIT = f"""[Unit]
Description=HAProxy of a load balancer
After=network.target amphora-netns.service
Before=octavia-keepalived.service
Requires=amphora-netns.service
[Service]
Environment="CONFIG={{directory}}/haproxy.cfg" "USERCONFIG={BASE}/haproxy-default-user-group.conf"
Environment="PIDFILE={{directory}}/{{identity}}.pid"
ExecStartPre=/usr/sbin/haproxy -f $CONFIG -f $USERCONFIG -c -q -L {PEER}
ExecReload=/usr/sbin/haproxy -c -f $CONFIG -f $USERCONFIG -L {PEER}
ExecReload=/bin/kill -USR2 $MAINPID
ExecStart=/sbin/ip netns exec {NAMESPACE} /usr/sbin/haproxy -Ws \\
    -f $CONFIG -f $USERCONFIG -p $PIDFILE -L {PEER}
KillMode=mixed
Restart=always
LimitNOFILE=20000
Type=notify
[Install]
WantedBy=multi-user.target
"""
_KEEPALIVED_UNIT = f"""[Unit]
Description=keepalived of an amphora
After=network-online.target amphora-netns.service
Requires=amphora-netns.service
[Service]
Type=forking
KillMode=process
ExecStart=/sbin/ip netns exec {NAMESPACE} /usr/sbin/keepalived --log-facility=1 \\
    -f {KEEPALIVED} -p {KEEPALIVED.with_suffix(".pid")}
ExecReload=/bin/kill -HUP $MAINPID
PIDFile={KEEPALIVED.with_suffix(".pid")}
[Install]
WantedBy=multi-user.target
"""
_INTERFACE = {
    "name": "eth1",
    "if_type": "vip",
    "addresses": [
        {"address": "203.0.113.4", "prefixlen": 24},
        {"address": VIP, "prefixlen": 32, "octavia_owned": True},
    ],
    "routes": [{"dst": "0.0.0.0/0", "gateway": "203.0.113.1", "flags": ["onlink"]}],
    "rules": [{"src": VIP, "src_len": 32, "table": 1}],
    "scripts": {"up": [], "down": []},
    "is_sriov": False,
    "mtu": 1450,
}


def make_namespace() -> None:
    """Make the namespace of tenant traffic; one that is there stays as it is."""
    # keepalived looks up the name of its machine, and from there no name server can be reached.
    with Path("/etc/hosts").open("a") as hosts:
        hosts.write(f"127.0.1.1 {socket.gethostname()}\n")
    run("ip", "netns", "add", NAMESPACE)
    must("ip", "-n", NAMESPACE, "link", "set", "lo", "up")


def plug_vip(*addresses: str) -> None:
    """Attach the VIP's port, remembered as Octavia's agent does, with these addresses."""
    write(BASE / "plugged_interfaces", f"{MAC} eth1\n")
    write(Path("/etc/octavia/interfaces/eth1.json"), json.dumps(_INTERFACE))
    must("ip", "link", "add", "vip0", "address", MAC, "type", "veth", "peer", "name", "vip0peer")
    must("ip", "link", "set", "vip0peer", "up")
    must("ip", "link", "set", "vip0", "netns", NAMESPACE, "name", "eth1")
    must("ip", "-n", NAMESPACE, "link", "set", "eth1", "up", "mtu", "1450")
    for address in addresses:
        must("ip", "-n", NAMESPACE, "addr", "add", address, "dev", "eth1")


def start_haproxy(identity: str, configuration: str) -> Path:
    """Start a load balancer's haproxy as that agent does; return its pid file."""
    directory = BASE / identity
    write(directory / "haproxy.cfg", configuration, 0o600)
    write(BASE / "haproxy-default-user-group.conf", "global\n    group nogroup\n")
    write(BASE / "stats_counters.json", "{}", 0o640)
    _start(f"haproxy-{identity}.service", _HAPROXY_UNIT.format(directory=directory, identity=identity))
    return directory / f"{identity}.pid"


def start_keepalived(configuration: str) -> Path:
    """Start the keepalived of a pair as that agent does; return its pid file."""
    write(KEEPALIVED, configuration)
    _start(KEEPALIVED_SERVICE, _KEEPALIVED_UNIT)
    return KEEPALIVED.with_suffix(".pid")


def first_line(pid_file: Path) -> int:
    """Return the number of the main process."""
    return int(pid_file.read_text().split()[0])


def write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def _start(service: str, unit: str) -> None:
    for name, text in (("amphora-netns.service", NAMESPACE_UNIT), (service, unit)):
        write(Path("/usr/lib/systemd/system", name), text)
    must("systemctl", "enable", service)
    started = run("systemctl", "start", service)
    assert started.returncode == 0, run("journalctl", "--no-pager", "-u", service).stdout
