# SPDX-License-Identifier: Apache-2.0
"""Builds the heartbeat from configuration."""

from __future__ import annotations

from oslo_config import cfg

from amphora.cmd.paths import Paths
from amphora.core.drift.drift import Drift
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


def make_heartbeat(conf: cfg.ConfigOpts, drift: Drift) -> Heartbeat:
    """Return the heartbeat of everything below the base path; it has not begun yet.

    :param drift: what it has found is in the heartbeat's log.
    """
    paths = Paths.of(conf)
    vrrp = paths.vrrp
    return Heartbeat(
        heartbeat_settings(conf),
        (HaproxySource(paths.haproxies), LvsSource(paths.lvs_listeners, conf.network.namespace)),
        CounterStore(paths.counters),
        lambda: keepalived_is_missing(vrrp),
        lambda: str(drift.counts()),
    )
