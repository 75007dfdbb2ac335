# SPDX-License-Identifier: Apache-2.0
"""Options of ``[drivers]``."""

from __future__ import annotations

from oslo_config import cfg

GROUP = "drivers"

_AUTO = "auto asks each installed driver and takes the first that can work on this machine"

OPTIONS = [
    cfg.StrOpt(
        "process_manager",
        default="auto",
        help=f"Runs haproxy as a service: systemd, standalone, or a third party's. {_AUTO}, standalone last.",
    ),
    cfg.StrOpt(
        "network",
        default="auto",
        help=f"Configures interfaces. {_AUTO}.",
    ),
    cfg.StrOpt(
        "cert_store",
        default="tmpfs",
        help=f"Keeps certificates: tmpfs, or a third party's. {_AUTO}.",
    ),
    cfg.StrOpt(
        "package_manager",
        default="auto",
        help=f"Answers which packages are installed: dpkg, or a third party's. {_AUTO}.",
    ),
]
