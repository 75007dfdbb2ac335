# SPDX-License-Identifier: Apache-2.0
"""Builds what configures interfaces, for the agent and for the small commands alike."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from oslo_config import cfg

from amphora.cmd.paths import Paths
from amphora.core.changes.journal import Journal
from amphora.core.changes.locks import InstanceLocks
from amphora.core.changes.operations import Operations
from amphora.core.network.interface_rules import InterfaceRules
from amphora.core.network.plug import Advertise, Plug, changing_interfaces
from amphora.core.topology import StoredTopology, TopologyKind
from amphora.drivers.network.base import NetworkDriver
from amphora.system import host


def make_plug(
    conf: cfg.ConfigOpts,
    network: NetworkDriver,
    locks: InstanceLocks,
    operations: Operations,
    rules: InterfaceRules,
    topology: StoredTopology,
    advertise: Advertise,
    look_for_links: Callable[[], None] = host.rescan_pci_bus,
) -> Plug:
    """Return what plugs ports, by a driver."""
    return Plug(
        network,
        locks,
        operations,
        vip_is_ours=topology.interface_holds_vip,
        advertise=advertise,
        guard=rules.protect,
        look_for_links=look_for_links,
        exclusive=partial(changing_interfaces, Paths.of(conf).base),
    )


def stored_topology(conf: cfg.ConfigOpts) -> StoredTopology:
    """Return the topology that was set last."""
    return StoredTopology(Paths.of(conf).topology, configured_topology(conf))


def configured_topology(conf: cfg.ConfigOpts) -> TopologyKind:
    """Return the topology that is in force until one is set."""
    return TopologyKind(conf.controller_worker.loadbalancer_topology.replace("_", "-"))


def make_operations(conf: cfg.ConfigOpts) -> Operations:
    """Return what makes changes and keeps their journal, below ``base_path``."""
    return Operations(Journal(Paths.of(conf).operations))
