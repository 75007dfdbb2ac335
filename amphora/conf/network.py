# SPDX-License-Identifier: Apache-2.0
"""Options of ``[network]``."""

from __future__ import annotations

from oslo_config import cfg

GROUP = "network"

OPTIONS = [
    cfg.StrOpt(
        "namespace",
        default="amphora-haproxy",
        regex=r"^[A-Za-z0-9_.-]*$",
        help="Network namespace that carries tenant traffic. Empty: the agent's own, as in a container or "
        "on a developer's machine.",
    ),
]
