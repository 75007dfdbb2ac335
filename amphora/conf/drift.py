# SPDX-License-Identifier: Apache-2.0
"""Options of ``[drift]``."""

from __future__ import annotations

from oslo_config import cfg

GROUP = "drift"

_CHOICES = [("report", "tell of it"), ("auto", "undo it")]


def _heal(group: str, how: str) -> cfg.StrOpt:
    return cfg.StrOpt(
        f"heal_{group}",
        default="report",
        choices=_CHOICES,
        help=f"What to do about drift of {group}. With auto: {how} "
        "Attempts are spaced further and further apart; none is made while a change is under way or waits.",
    )


OPTIONS = [
    cfg.IntOpt(
        "interval",
        default=60,
        min=0,
        help="Seconds between two looks at what is wanted, stored and running. 0: none is taken.",
    ),
    _heal(
        "configs",
        "store the proven configuration again where the stored one was edited, and reload what runs.",
    ),
    _heal("certificates", "reload, so that the certificates that are stored are those that clients see."),
    _heal("interfaces", "bring links, addresses, routes and rules back as they are stored."),
    _heal("services", "start what is to run and does not."),
    _heal("vip", "put virtual addresses where they are to be, and take them off where they are not."),
]
