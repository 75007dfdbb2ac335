# SPDX-License-Identifier: Apache-2.0
"""Options of ``[keepalived_vrrp]``."""

from __future__ import annotations

from oslo_config import cfg

GROUP = "keepalived_vrrp"

OPTIONS = [
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
        help="Seconds between two adverts of a pair that was formed by a topology change. Shorter finds a "
        "dead peer sooner; parts of a second need VRRP version 3, which has no authentication.",
    ),
    cfg.FloatOpt(
        "topology_change_timeout",
        default=120.0,
        min=1.0,
        help="Seconds a change of topology may take before it is undone.",
    ),
]
