# SPDX-License-Identifier: Apache-2.0
"""Options of ``[health_manager]``."""

from __future__ import annotations

from oslo_config import cfg

GROUP = "health_manager"

OPTIONS = [
    cfg.ListOpt(
        "controller_ip_port_list",
        default=[],
        help="Controllers that heartbeats go to, each as address:port, an IPv6 address in brackets.",
    ),
    cfg.IntOpt("heartbeat_interval", default=10, min=1, help="Seconds between two heartbeats."),
    cfg.StrOpt("heartbeat_key", secret=True, help="Shared key that signs heartbeats."),
]
