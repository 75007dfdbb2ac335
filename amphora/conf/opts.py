# SPDX-License-Identifier: Apache-2.0
"""All options of the agent, and how the small commands read them, which need none of oslo.log."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from oslo_config import cfg

from amphora.errors import ConfigurationError

#: Where controllers write it.
AGENT_CONFIGURATION = Path("/etc/octavia/amphora-agent.conf")

HAPROXY_AMPHORA = [
    cfg.StrOpt(
        "base_path",
        default="/var/lib/octavia",
        help="Directory that holds a subdirectory for each load balancer: its configuration, state and "
        "sockets. At most 48 characters, since socket paths are limited by the kernel.",
    ),
    cfg.StrOpt(
        "base_cert_dir",
        default="/var/lib/octavia/certs",
        help="Directory of the tenants' certificates and keys. The tmpfs store refuses to start unless it "
        "lies in memory: on tmpfs, ramfs, or a file system on a RAM block device.",
    ),
    cfg.IPOpt(
        "bind_host",
        default="::",
        help="Address the API listens on. :: serves IPv4 as well; set the management address to serve "
        "nothing else.",
    ),
    cfg.PortOpt("bind_port", default=9443, help="Port the API listens on. 0 lets the kernel choose."),
    cfg.StrOpt(
        "haproxy_cmd",
        default="/usr/sbin/haproxy",
        help="The haproxy executable, for checks and for running.",
    ),
    cfg.StrOpt(
        "haproxy_user",
        help="User that haproxy's workers run as if a configuration names none, with its primary "
        "group. Unset: the first of haproxy and nobody that exists. Without effect unless the agent runs "
        "as root.",
    ),
    cfg.StrOpt(
        "haproxy_log_target",
        default="/run/rsyslog/octavia/log",
        help="Where haproxy logs to if a configuration names no log target: a syslog socket path or an "
        "address:port. Empty: nowhere.",
    ),
    cfg.IntOpt(
        "user_log_facility",
        default=0,
        min=0,
        max=7,
        help="Number n of the local<n> syslog facility for traffic logs.",
    ),
    cfg.IntOpt(
        "administrative_log_facility",
        default=1,
        min=0,
        max=7,
        help="Number n of the local<n> syslog facility for haproxy's own messages.",
    ),
    cfg.FloatOpt(
        "apply_timeout",
        default=20.0,
        min=1.0,
        max=55.0,
        help="Seconds until a start or reload of haproxy must be proven; then it is rolled back. Controllers "
        "time out after 60 seconds, so the response must come before that.",
    ),
    cfg.IntOpt(
        "haproxy_drain_time",
        default=0,
        min=0,
        help="Seconds after which a worker that a reload has replaced closes its remaining connections. "
        "0: never. A configuration's own hard-stop-after takes precedence.",
    ),
    cfg.IntOpt(
        "haproxy_max_old_workers",
        min=0,
        help="Workers replaced by reloads that may finish their connections at the same time; a further "
        "successful reload ends the oldest. Failed reloads and workers without clients do not count. "
        "Unset: any number. A configuration's own mworker-max-reloads, which counts failed reloads as "
        "well, takes precedence.",
    ),
    cfg.IntOpt(
        "memory_reserve",
        default=32,
        min=0,
        help="MiB that a start or reload of haproxy must leave to the rest of the machine, else it is "
        "refused with the numbers: old and new workers run side by side for a while.",
    ),
]

AMPHORA_AGENT = [
    cfg.StrOpt(
        "agent_server_ca",
        default="/etc/octavia/certs/client_ca.pem",
        help="CA certificates that a controller's client certificate must come from.",
    ),
    cfg.StrOpt(
        "agent_server_cert",
        default="/etc/octavia/certs/server.pem",
        help="One PEM file with the server's certificate, its unencrypted private key and any chain.",
    ),
    cfg.StrOpt(
        "agent_server_network_dir",
        help="Directory of persisted interface configurations. Unset: /etc/octavia/interfaces/.",
    ),
    cfg.IntOpt(
        "agent_request_read_timeout",
        default=180,
        min=1,
        help="Seconds a client may take to send the body of one request.",
    ),
    cfg.StrOpt("amphora_id", help="UUID of this amphora, as the controller knows it."),
    cfg.StrOpt(
        "agent_tls_protocol",
        default="TLSv1.2",
        choices=["SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"],
        help="Oldest TLS version accepted. Values below TLSv1.2 are read as TLSv1.2.",
    ),
    cfg.ListOpt(
        "allowed_client_names",
        default=[],
        help="Common names or DNS names of client certificates that may use the API; others get 401. "
        "Empty: every certificate of agent_server_ca may.",
    ),
]

HEALTH_MANAGER = [
    cfg.ListOpt(
        "controller_ip_port_list",
        default=[],
        help="Controllers that heartbeats are sent to, in turn, each as address:port, an IPv6 address "
        "in brackets. Names are resolved once. Empty: no heartbeat is sent.",
    ),
    cfg.IntOpt(
        "heartbeat_interval",
        default=10,
        min=1,
        help="Seconds between two heartbeats. Keep it well below the controllers' heartbeat_timeout, after "
        "which they replace an amphora.",
    ),
    cfg.StrOpt(
        "heartbeat_key",
        secret=True,
        help="Key that signs heartbeats, the same as the controllers'. Unset: no heartbeat is sent.",
    ),
]

CONTROLLER_WORKER = [
    cfg.StrOpt(
        "loadbalancer_topology",
        default="SINGLE",
        choices=["SINGLE", "ACTIVE_STANDBY"],
        help="Topology the controller built this load balancer with.",
    ),
]

KEEPALIVED_VRRP = [
    cfg.StrOpt(
        "keepalived_cmd",
        default="/usr/sbin/keepalived",
        help="The keepalived executable, for checks and for running.",
    ),
    cfg.FloatOpt(
        "vrrp_advert_int",
        default=1.0,
        min=0.1,
        max=40.0,
        help="Seconds between two adverts of a pair that was formed by a topology change. A shorter interval "
        "detects a dead peer sooner; fractions need VRRP version 3, which has no authentication.",
    ),
    cfg.FloatOpt(
        "topology_change_timeout",
        default=120.0,
        min=1.0,
        help="Seconds until a change of topology times out and is rolled back.",
    ),
]

_AUTO = (
    "auto asks each installed driver in this order, takes the first that can work on this machine, and logs "
    "why; 'amphora-agent drivers' shows them all. Name one to use only that"
)

DRIVERS = [
    cfg.StrOpt(
        "process_manager",
        default="auto",
        help="Runs haproxy and keepalived as services: systemd, upstart, sysvinit, a third party's, or "
        f"standalone, which needs no init system. {_AUTO}.",
    ),
    cfg.StrOpt(
        "network",
        default="auto",
        help="Configures interfaces: ifupdown, pyroute2, or a third party's. "
        f"{_AUTO}. If auto finds none, the agent runs and refuses to plug ports.",
    ),
    cfg.StrOpt(
        "cert_store",
        default="tmpfs",
        help=f"Keeps certificates: tmpfs, or a third party's. {_AUTO}.",
    ),
    cfg.StrOpt(
        "package_manager",
        default="auto",
        help="Answers which packages are installed: dpkg, rpm, or a third party's. "
        f"{_AUTO}. If auto finds none, the agent reports no package versions.",
    ),
]

NETWORK = [
    cfg.StrOpt(
        "namespace",
        default="amphora-haproxy",
        regex=r"^[A-Za-z0-9_.-]*$",
        help="Network namespace that carries tenant traffic. Empty: the agent's own, as in a container or "
        "on a developer's machine.",
    ),
]

SERVER = [
    cfg.IntOpt(
        "max_body_size",
        default=1024 * 1024,
        min=4096,
        help="Largest request body in bytes. Raise it for load balancers with thousands of members.",
    ),
    cfg.FloatOpt("handshake_timeout", default=5.0, min=0.1, help="Seconds a TLS handshake may take."),
    cfg.FloatOpt("header_timeout", default=10.0, min=0.1, help="Seconds a request's headers may take."),
    cfg.FloatOpt("idle_timeout", default=75.0, min=0.1, help="Seconds an idle connection is kept open."),
    cfg.IntOpt(
        "max_unauthenticated",
        default=512,
        min=1,
        help="Connections that have not finished their TLS handshake, at most. At the limit, the source "
        "address with most of them loses its oldest, so that a controller is never refused.",
    ),
    cfg.IntOpt(
        "max_unauthenticated_per_source",
        default=256,
        min=1,
        help="The same for one source address.",
    ),
]

_CHOICES = [("report", "only report it"), ("auto", "correct it")]


def _heal(group: str, how: str) -> cfg.StrOpt:
    return cfg.StrOpt(
        f"heal_{group}",
        default="report",
        choices=_CHOICES,
        help=f"What to do about drift of {group}. With auto: {how} "
        "Failed attempts are retried at growing intervals; none is made while a change runs or waits.",
    )


DRIFT = [
    cfg.IntOpt(
        "interval",
        default=60,
        min=0,
        help="Seconds between two checks of the desired, stored and running state. 0: no check.",
    ),
    _heal(
        "configs",
        "restore the proven configuration if the stored one was edited, and reload what runs.",
    ),
    _heal("certificates", "reload, so that clients see the stored certificates."),
    _heal("interfaces", "restore links, addresses, routes and rules as stored."),
    _heal("services", "start services that should run and do not."),
    _heal("vip", "add virtual addresses that are missing, and remove those that should not be here."),
]

_GROUPS: dict[str, Sequence[cfg.Opt]] = {
    "haproxy_amphora": HAPROXY_AMPHORA,
    "amphora_agent": AMPHORA_AGENT,
    "health_manager": HEALTH_MANAGER,
    "controller_worker": CONTROLLER_WORKER,
    "keepalived_vrrp": KEEPALIVED_VRRP,
    "drivers": DRIVERS,
    "network": NETWORK,
    "server": SERVER,
    "drift": DRIFT,
}


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """Return the options of each group, as oslo-config-generator asks for them."""
    return [(group, list(options)) for group, options in _GROUPS.items()]


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Register every option on ``conf``. Safe to repeat."""
    for group, options in list_opts():
        conf.register_opts(options, group=group)


def read_configuration(path: Path) -> cfg.ConfigOpts:
    """Return the configuration in a file; a missing one leaves every option at its default.

    :raises ConfigurationError: it cannot be read or parsed.
    """
    conf = cfg.ConfigOpts()
    register_opts(conf)
    try:
        named = [str(path)] if path.exists() else []
        conf([], project="amphora-agent", default_config_files=named, default_config_dirs=[])
    except (cfg.Error, OSError) as error:
        raise ConfigurationError(f"{path}: {' '.join(str(error).split())}") from error
    return conf
