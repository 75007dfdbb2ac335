# SPDX-License-Identifier: Apache-2.0
"""Builds the heartbeat from configuration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from oslo_config import cfg

from amphora.core.workloads.haproxy_files import HaproxyDirectory
from amphora.core.workloads.lvs_files import LvsDirectory
from amphora.core.workloads.vrrp_files import VrrpFiles
from amphora.health.counter_deltas import CounterStore
from amphora.health.haproxy_source import HaproxySource
from amphora.health.heartbeat import Heartbeat, HeartbeatSettings
from amphora.health.keepalived_gate import keepalived_is_missing
from amphora.health.lvs_source import LvsSource


def heartbeat_settings(conf: cfg.ConfigOpts) -> HeartbeatSettings:
    """Return what a configuration says of the heartbeat."""
    group = conf.health_manager
    return HeartbeatSettings(
        tuple(group.controller_ip_port_list),
        float(group.heartbeat_interval),
        group.heartbeat_key or "",
        conf.amphora_agent.amphora_id or "",
    )


def make_heartbeat(conf: cfg.ConfigOpts, directory: HaproxyDirectory, drift: Callable[[], str]) -> Heartbeat:
    """Return the heartbeat of everything below the base path; it has not begun yet.

    :param drift: says what has come apart, for its log.
    """
    base_path = Path(conf.haproxy_amphora.base_path)
    layout = VrrpFiles(base_path)
    return Heartbeat(
        heartbeat_settings(conf),
        (HaproxySource(directory), LvsSource(LvsDirectory(base_path), conf.network.namespace)),
        CounterStore(base_path / "stats_counters.json"),
        lambda: keepalived_is_missing(layout),
        drift,
    )
