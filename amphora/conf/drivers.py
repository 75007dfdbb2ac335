# SPDX-License-Identifier: Apache-2.0
"""Options of ``[drivers]``."""

from __future__ import annotations

from oslo_config import cfg

GROUP = "drivers"

_AUTO = (
    "auto asks each installed driver in this order, takes the first that can work on this machine, and logs "
    "why; 'amphora-agent drivers' shows them all. Name one to have that or none"
)

OPTIONS = [
    cfg.StrOpt(
        "process_manager",
        default="auto",
        help="Runs haproxy and keepalived as services: systemd, upstart, sysvinit, a third party's, or "
        f"standalone, which needs no init system. {_AUTO}.",
    ),
    cfg.StrOpt(
        "network",
        default="auto",
        help="Configures interfaces: pyroute2, a third party's, or ifupdown. "
        f"{_AUTO}. Where auto finds none, the agent runs and refuses to plug ports.",
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
        f"{_AUTO}. Where auto finds none, versions of packages are left out of what the agent tells.",
    ),
]
