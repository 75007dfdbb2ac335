# SPDX-License-Identifier: Apache-2.0
"""Builds what brings ports into use, for the agent and for the small commands alike."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from oslo_config import cfg

from amphora.core.changes.journal import Journal
from amphora.core.changes.locks import InstanceLocks
from amphora.core.changes.operations import Operations
from amphora.core.keepalived.topology import TopologyKind
from amphora.core.lvs.layout import LvsDirectory
from amphora.core.lvs.masquerade import LvsMasquerade
from amphora.core.network.data_namespace import DataNamespace
from amphora.core.network.interface_rules import InterfaceRules
from amphora.core.network.masquerade import Masquerade
from amphora.core.network.plug import Plug
from amphora.drivers.network.base import NetworkDriver
from amphora.system import files, host
from amphora.system.advertisements import advertise
from amphora.system.command import CommandRunner
from amphora.system.nftables import Nftables

#: Held by whichever process changes interfaces: the agent, or a command beside it.
_LOCK_FILE = "interfaces.lock"
_PATIENCE = 40.0


def make_data_namespace(conf: cfg.ConfigOpts, runner: CommandRunner) -> DataNamespace:
    """Return the namespace of tenant traffic; it is made when it is prepared."""
    return DataNamespace(conf.network.namespace, runner)


def make_interface_rules(
    conf: cfg.ConfigOpts, runner: CommandRunner, locks: InstanceLocks, operations: Operations
) -> InterfaceRules:
    """Return the packet filter of SR-IOV ports."""
    return InterfaceRules(
        Path(conf.haproxy_amphora.base_path),
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
    vip_is_ours: Callable[[], bool],
) -> Plug:
    """Return what plugs ports, by a driver."""
    return Plug(
        network,
        locks,
        operations,
        vip_is_ours=vip_is_ours,
        advertise=lambda address, interface, mac: advertise(address, interface, mac, conf.network.namespace),
        guard=rules.protect,
        look_for_links=host.rescan_pci_bus,
        alone=lambda: changing_interfaces(conf),
    )


def make_lvs_masquerade(
    conf: cfg.ConfigOpts, network: NetworkDriver, runner: CommandRunner, rules: InterfaceRules
) -> LvsMasquerade:
    """Return what lets members of UDP and SCTP listeners answer."""
    masquerade = Masquerade(Nftables(runner, conf.network.namespace))
    lvs = LvsDirectory(Path(conf.haproxy_amphora.base_path))
    return LvsMasquerade(masquerade, network, lvs, rules.are_in_force)


def changing_interfaces(conf: cfg.ConfigOpts) -> AbstractContextManager[None]:
    """Keep other processes from changing interfaces within a ``with`` block; it raises Busy."""
    return files.exclusive_lock(Path(conf.haproxy_amphora.base_path) / _LOCK_FILE, _PATIENCE)


def topology_file(conf: cfg.ConfigOpts) -> Path:
    """Return where the topology is stored that was asked for last."""
    return Path(conf.haproxy_amphora.base_path) / "topology.json"


def configured_topology(conf: cfg.ConfigOpts) -> TopologyKind:
    """Return the topology that is in force where none was asked for."""
    return TopologyKind(conf.controller_worker.loadbalancer_topology.replace("_", "-"))


def make_operations(conf: cfg.ConfigOpts) -> Operations:
    """Return what makes changes and keeps their journal."""
    return Operations(Journal(Path(conf.haproxy_amphora.base_path) / "operations"))
