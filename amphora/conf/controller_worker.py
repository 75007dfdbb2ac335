# SPDX-License-Identifier: Apache-2.0
"""Options of ``[controller_worker]``."""

from __future__ import annotations

from oslo_config import cfg

GROUP = "controller_worker"

OPTIONS = [
    cfg.StrOpt(
        "loadbalancer_topology",
        default="SINGLE",
        choices=["SINGLE", "ACTIVE_STANDBY"],
        help="Topology the controller built this load balancer with.",
    ),
]
