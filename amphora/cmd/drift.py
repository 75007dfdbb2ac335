# SPDX-License-Identifier: Apache-2.0
"""Reads what is configured of drift."""

from __future__ import annotations

from oslo_config import cfg

from amphora.core.drift.drift import HEALING_GROUPS, DriftSettings


def drift_settings(conf: cfg.ConfigOpts) -> DriftSettings:
    """Return what is configured."""
    group = conf.drift
    healed = frozenset(name for name in HEALING_GROUPS if group[f"heal_{name}"] == "auto")
    return DriftSettings(float(group.interval), healed)
