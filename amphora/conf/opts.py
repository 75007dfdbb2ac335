# SPDX-License-Identifier: Apache-2.0
"""All options of the agent, for registration and for the sample configuration."""

from __future__ import annotations

from oslo_config import cfg

from amphora.conf import (
    amphora_agent,
    controller_worker,
    drift,
    drivers,
    haproxy_amphora,
    health_manager,
    keepalived_vrrp,
    network,
    server,
)

_GROUPS = (
    haproxy_amphora,
    amphora_agent,
    health_manager,
    controller_worker,
    keepalived_vrrp,
    drivers,
    network,
    server,
    drift,
)


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """Return group and options of all groups, as oslo-config-generator asks for them."""
    return [(group.GROUP, list(group.OPTIONS)) for group in _GROUPS]


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Register every option on ``conf``. Safe to repeat."""
    for group, options in list_opts():
        conf.register_opts(options, group=group)
