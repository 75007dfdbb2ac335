# SPDX-License-Identifier: Apache-2.0
"""Options of ``[health_manager]``."""

from __future__ import annotations

from oslo_config import cfg

GROUP = "health_manager"

OPTIONS = [
    cfg.ListOpt(
        "controller_ip_port_list",
        default=[],
        help="Controllers that heartbeats go to, one after the other, each as address:port, an IPv6 address "
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
