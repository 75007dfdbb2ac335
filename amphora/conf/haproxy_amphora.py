# SPDX-License-Identifier: Apache-2.0
"""Options of ``[haproxy_amphora]``."""

from __future__ import annotations

from oslo_config import cfg

GROUP = "haproxy_amphora"

OPTIONS = [
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
        help="User that haproxy's workers run as where a configuration names none, with its primary "
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
        help="Number n of the local<n> syslog facility for what haproxy says of itself.",
    ),
    cfg.FloatOpt(
        "apply_timeout",
        default=20.0,
        min=1.0,
        max=55.0,
        help="Seconds a start or reload of haproxy may take until it is proven; then the former state is "
        "restored. Controllers give up after 60 seconds, so the answer must come before that.",
    ),
    cfg.IntOpt(
        "haproxy_drain_time",
        default=0,
        min=0,
        help="Seconds after which a worker that a reload has replaced ends the connections it still has. "
        "0: never, however long they stay. A configuration's own hard-stop-after counts before this.",
    ),
    cfg.IntOpt(
        "haproxy_max_old_workers",
        min=0,
        help="Workers replaced by reloads that may still finish their connections at a time; after one more "
        "good reload the agent ends the oldest. Reloads that fail, and workers without clients, do not "
        "count. Unset: any number. A configuration's own mworker-max-reloads, which counts failed reloads "
        "too, counts before this.",
    ),
    cfg.IntOpt(
        "memory_reserve",
        default=32,
        min=0,
        help="MiB that a start or reload of haproxy must leave to the rest of the machine, else it is "
        "refused with the numbers: two generations run side by side for a while.",
    ),
]
