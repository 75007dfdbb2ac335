# SPDX-License-Identifier: Apache-2.0
"""Builds what configures interfaces, for the agent and for the small commands alike."""

from __future__ import annotations

from functools import partial

from oslo_config import cfg

from amphora.cmd.paths import Paths
from amphora.core.changes.journal import Journal
from amphora.core.changes.locks import InstanceLocks
from amphora.core.changes.operations import Operations
from amphora.core.network.data_namespace import DataNamespace
from amphora.core.network.interface_rules import InterfaceRules
from amphora.core.network.masquerade import Masquerade
from amphora.core.network.plug import Plug, changing_interfaces
from amphora.core.topology import StoredTopology, TopologyKind
from amphora.core.workloads.lvs_masquerade import LvsMasquerade
from amphora.drivers.network.base import NetworkDriver
from amphora.system import host
from amphora.system.advertisements import advertise
from amphora.system.command import CommandRunner
from amphora.system.nftables import Nftables


def make_data_namespace(conf: cfg.ConfigOpts, runner: CommandRunner) -> DataNamespace:
    """Return the namespace of tenant traffic; ``prepare`` creates it."""
    return DataNamespace(conf.network.namespace, runner)


def make_interface_rules(
    conf: cfg.ConfigOpts, runner: CommandRunner, locks: InstanceLocks, operations: Operations
) -> InterfaceRules:
    """Return the packet filter of SR-IOV ports."""
    return InterfaceRules(
        Paths.of(conf).base,
        Nftables(runner, conf.network.namespace),
        locks,
        make_data_namespace(conf, runner).ensure,
        operations,
    )


def make_plug(
    conf: cfg.ConfigOpts,
    network: NetworkDriver,
    locks: InstanceLocks,
    operations: Operations,
    rules: InterfaceRules,
    topology: StoredTopology,
) -> Plug:
    """Return what plugs ports, by a driver."""
    return Plug(
        network,
        locks,
        operations,
        vip_is_ours=topology.interface_holds_vip,
        advertise=partial(advertise, namespace=conf.network.namespace),
        guard=rules.protect,
        look_for_links=host.rescan_pci_bus,
        exclusive=partial(changing_interfaces, Paths.of(conf).base),
    )


def make_lvs_masquerade(
    conf: cfg.ConfigOpts, network: NetworkDriver, runner: CommandRunner, rules: InterfaceRules
) -> LvsMasquerade:
    """Return what lets members of UDP and SCTP listeners answer."""
    masquerade = Masquerade(Nftables(runner, conf.network.namespace))
    return LvsMasquerade(masquerade, network, Paths.of(conf).lvs_listeners, rules.are_in_force)


def stored_topology(conf: cfg.ConfigOpts) -> StoredTopology:
    """Return the topology that was set last."""
    return StoredTopology(Paths.of(conf).topology, configured_topology(conf))


def configured_topology(conf: cfg.ConfigOpts) -> TopologyKind:
    """Return the topology that is in force until one is set."""
    return TopologyKind(conf.controller_worker.loadbalancer_topology.replace("_", "-"))


def make_operations(conf: cfg.ConfigOpts) -> Operations:
    """Return what makes changes and keeps their journal, below ``base_path``."""
    return Operations(Journal(Paths.of(conf).operations))
