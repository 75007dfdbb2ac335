# SPDX-License-Identifier: Apache-2.0
"""Configurations of whole load balancers as an Octavia controller writes them."""

from __future__ import annotations

from collections.abc import Iterable

LOAD_BALANCER = "1b000000-0000-4000-8000-000000000001"
LISTENER, TLS_LISTENER, METRICS_LISTENER = (f"11000000-0000-4000-8000-00000000000{n}" for n in (1, 2, 3))
POOL = "90000000-0000-4000-8000-000000000001"
MEMBER = "ae000000-0000-4000-8000-000000000001"
AMPHORA = "00000000-0000-4000-8000-00000000000a"
#: The name of that amphora among peers, made by a controller.
PEER = "AKyjUX7exN73rl7_5RLzyrLJ5Qg"

#: Parameters of a VIP's port and of a member network's.
MAC, OTHER_MAC = "fa:16:3e:00:00:01", "fa:16:3e:00:00:02"
VIP = {
    "subnet_cidr": "203.0.113.0/24",
    "gateway": "203.0.113.1",
    "mac_address": MAC,
    "vrrp_ip": "203.0.113.4",
    "mtu": 1450,
    "host_routes": [{"destination": "198.51.100.0/24", "nexthop": "203.0.113.5"}],
    "additional_vips": [
        {
            "ip_address": "2001:db8::4",
            "subnet_cidr": "2001:db8::/64",
            "gateway": "2001:db8::1",
            "host_routes": [],
        }
    ],
    "is_sriov": False,
}
MEMBER_PORT = {
    "mac_address": OTHER_MAC,
    "mtu": 1450,
    "is_sriov": False,
    "fixed_ips": [
        {
            "ip_address": "10.0.0.5",
            "subnet_cidr": "10.0.0.0/24",
            "host_routes": [{"destination": "192.0.2.0/24", "nexthop": "10.0.0.9"}],
            "gateway": "10.0.0.1",
        }
    ],
}

_INTERNAL_METRICS = """
frontend prometheus-exporter-internal-endpoint
    bind 127.0.0.1:{metrics}
    mode http
    no log
    http-request use-service prometheus-exporter if {{ path /metrics }}
    timeout http-request 5s
    timeout client 5s
backend prometheus-exporter-internal
    mode http
    no log
    balance first
    timeout connect 5s
    timeout server 5s
    server prometheus-internal 127.0.0.1:{metrics_proxy}
"""


def global_section(base_path: str = "/var/lib/octavia", extra: Iterable[str] = ()) -> str:
    """The first sections of a load balancer."""
    lines = [
        f"# Configuration for loadbalancer {LOAD_BALANCER}",
        "global",
        "    daemon",
        "    user nobody",
        "    log /run/rsyslog/octavia/log local0",
        "    log /run/rsyslog/octavia/log local1 notice",
        f"    stats socket {base_path}/{LOAD_BALANCER}.sock mode 0666 level user",
        f"    server-state-file {base_path}/{LOAD_BALANCER}/servers-state",
        "    maxconn 2000",
        *(f"    {line}" for line in extra),
        "",
        "defaults",
        "    log global",
        "    retries 3",
        "    option redispatch",
        "    option splice-request",
        "    option splice-response",
        "    option http-keep-alive",
        "",
    ]
    return "\n".join(lines)


def peers_section(address: str) -> str:
    """The peers of a pair; haproxy listens on the address of the local one."""
    return f"peers {LOAD_BALANCER.replace('-', '')}_peers\n    peer {PEER} {address}\n\n"


def frontend(listener: str, binds: Iterable[str], mode: str = "http", pool: str = POOL) -> str:
    """One listener, and its pool where it has one of its own."""
    lines = [f"frontend {listener}", "    maxconn 1000"]
    lines += [f"    bind {bind}" for bind in binds]
    lines += [f"    mode {mode}", f"    default_backend {pool}:{listener}", "    timeout client 50000", ""]
    return "\n".join(lines) + "\n"


def backend(
    listener: str, member_port: int, mode: str = "http", pool: str = POOL, member: str = MEMBER
) -> str:
    """A pool as one listener uses it."""
    return (
        f"backend {pool}:{listener}\n    mode {mode}\n    balance roundrobin\n"
        "    load-server-state-from-file global\n    fullconn 1000\n    option allbackups\n"
        "    timeout connect 5000\n    timeout server 50000\n"
        f"    server {member} 127.0.0.1:{member_port} weight 1 check inter 5s fall 3 rise 2\n\n"
    )


def internal_metrics(metrics: int = 9101, metrics_proxy: int = 9102) -> str:
    """The two sections that exist for the metrics of PROMETHEUS listeners."""
    return _INTERNAL_METRICS.format(metrics=metrics, metrics_proxy=metrics_proxy)
