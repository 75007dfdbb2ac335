# SPDX-License-Identifier: Apache-2.0
"""Builds drivers and core from configuration."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from oslo_config import cfg

from amphora.cmd.driver_loading import Drivers, load_drivers
from amphora.cmd.network_wiring import configured_topology, make_plug, stored_topology
from amphora.cmd.paths import Paths
from amphora.core.agent_files import AgentCertificate, AgentConfiguration
from amphora.core.changes.idempotency_store import IdempotencyStore
from amphora.core.changes.locks import InstanceLocks
from amphora.core.changes.operations import Operations
from amphora.core.changes.recovery import Recovery
from amphora.core.drift.drift import HEALING_GROUPS, Drift, DriftSettings
from amphora.core.drift.sources import StoredWorkloads, make_drift
from amphora.core.network.data_namespace import DataNamespace
from amphora.core.network.interface_rules import InterfaceRules
from amphora.core.network.masquerade import Masquerade
from amphora.core.network.plug import Advertise, Plug
from amphora.core.node import Node
from amphora.core.pair import Pair
from amphora.core.sampler import Sampler, take_sample
from amphora.core.services import CoreServices
from amphora.core.topology import StoredTopology, TopologyManager
from amphora.core.workloads.catalog import WorkloadCatalog
from amphora.core.workloads.certificates import Certificates
from amphora.core.workloads.check_scripts import CheckScripts
from amphora.core.workloads.haproxy import HaproxySettings, HaproxyWorkload
from amphora.core.workloads.haproxy_files import HaproxyFiles
from amphora.core.workloads.haproxy_processes import ProcessReader
from amphora.core.workloads.lvs import LvsSettings, LvsWorkload
from amphora.core.workloads.lvs_masquerade import LvsMasquerade
from amphora.core.workloads.metrics_service import MetricsService
from amphora.core.workloads.status import StatusReader
from amphora.core.workloads.vrrp import VrrpSettings, VrrpWorkload
from amphora.core.workloads.workload import WorkloadContext
from amphora.haproxy.overlay import OverlaySettings
from amphora.haproxy.preflight.capacity import MIB
from amphora.haproxy.program import HaproxyProgram
from amphora.health.counter_deltas import CounterStore
from amphora.health.haproxy_source import HaproxySource
from amphora.health.heartbeat import Heartbeat, HeartbeatSettings
from amphora.health.keepalived_gate import keepalived_is_missing
from amphora.health.lvs_source import LvsSource
from amphora.keepalived.program import KeepalivedProgram, LvsProgram
from amphora.models import ServiceStatus
from amphora.system import host
from amphora.system.advertisements import advertise
from amphora.system.command import CommandRunner
from amphora.system.nftables import Nftables

_HAPROXY_USERS = ("haproxy", "nobody")


@dataclass(frozen=True, slots=True)
class Parts:
    """What the core is composed of and works through; tests put fakes in their place.

    :ivar namespace: that of tenant traffic.
    :ivar advertise: sends gratuitous ARP in the data namespace.
    :ivar look_for_links: makes the machine search for links that it has not noticed.
    :ivar make_haproxy: returns the instance with given files; likewise the other three.
    """

    operations: Operations
    drivers: Drivers
    haproxy: HaproxyProgram
    keepalived: KeepalivedProgram
    nftables: Nftables
    namespace: DataNamespace
    advertise: Advertise
    look_for_links: Callable[[], None] = host.rescan_pci_bus
    locks: InstanceLocks = field(default_factory=InstanceLocks)
    make_haproxy: type[HaproxyWorkload] = HaproxyWorkload
    make_lvs: type[LvsWorkload] = LvsWorkload
    make_vrrp: type[VrrpWorkload] = VrrpWorkload
    make_pair: type[Pair] = Pair

    def service_status(self, own: HaproxyFiles) -> ServiceStatus:
        """Return the status of an instance's service.

        :raises ServiceError: it cannot be read.
        """
        return self.drivers.process_manager.status(own.service_name)

    def should_run(self, own: HaproxyFiles) -> bool:
        """Whether an instance should run, be it up or not.

        :raises ServiceError: it cannot be read.
        """
        return not self.service_status(own).state.is_at_rest


def load_parts(conf: cfg.ConfigOpts, operations: Operations) -> Parts:
    """Load the configured drivers, and return them with the programs. Nothing is changed on the machine.

    :raises StartupError: a driver cannot be loaded or used, or the base path is too long.
    """
    Paths.of(conf).haproxies.check_path()
    runner, namespace = CommandRunner(), conf.network.namespace
    return Parts(
        operations,
        load_drivers(conf, runner),
        HaproxyProgram(Path(conf.haproxy_amphora.haproxy_cmd), runner),
        KeepalivedProgram(Path(conf.keepalived_vrrp.keepalived_cmd), runner),
        Nftables(runner, namespace),
        DataNamespace(namespace, runner),
        partial(advertise, namespace=namespace),
    )


class Composition:
    """Everything below the API, built and wired. Changes nothing on the machine before it recovers."""

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        parts: Parts,
        agent_certificate: AgentCertificate,
        agent_configuration: AgentConfiguration,
    ) -> None:
        self._parts = parts
        self._directory = Paths.of(conf).haproxies
        self._sampler = Sampler(partial(take_sample, conf.network.namespace))
        self._recovery = Recovery()
        node = Node(
            conf.amphora_agent.amphora_id or "",
            parts.haproxy,
            self._directory,
            self._sampler,
            parts.drivers.package_manager,
            self._recovery,
        )
        self.core = _core(conf, parts, node, agent_certificate, agent_configuration)
        self._heartbeat = _heartbeat(conf, self.core.drift)

    def recover(self) -> None:
        """Put in order what the last agent left, and take up what runs. Called once, before serving.

        :raises AmphoraError: the state on disk cannot be read or written.
        """
        self._directory.prepare()
        self._parts.drivers.cert_store.recover()
        core, take = self.core, self._recovery.take
        # Each part looks here for what was cut off in the middle of a change.
        take("operations", self._parts.operations.recover)
        # Services need the namespace and its interfaces; keepalived's own state needs its service.
        take("namespace", self._parts.namespace.prepare)
        take("interface rules", core.interface_rules.recover)
        take("interfaces", core.plug.recover)
        take("haproxy", self._parts.haproxy.refresh)
        take("haproxy of another agent", core.workloads.adopt)
        take("services", self._parts.drivers.process_manager.supervise)
        take("keepalived", core.vrrp.recover)
        take("topology", core.topology.recover)
        take("certificates", core.certificates.recover)
        take("instances", core.workloads.recover_haproxies)
        take("LVS listeners", core.workloads.recover_lvs_listeners)
        take("agent files", self._recover_agent_files)
        take("answers", core.idempotency_store.recover)
        self._sampler.start()
        self._heartbeat.start()
        core.drift.start()

    def _recover_agent_files(self) -> None:
        self.core.agent_certificate.recover()
        self.core.agent_configuration.recover()
        self._parts.operations.settle_rest()

    def reconfigure(self, conf: cfg.ConfigOpts) -> None:
        """Take up what a running agent can of a configuration that was read again."""
        self.core.topology.stored.default = configured_topology(conf)
        self._heartbeat.reconfigure(_heartbeat_settings(conf))
        self.core.drift.reconfigure(_drift_settings(conf))

    def close(self) -> None:
        """Let go of what runs; it goes on."""
        self.core.drift.close()
        self._heartbeat.close()
        self._sampler.close()
        self.core.topology.close()
        self.core.vrrp.close()
        self._parts.drivers.process_manager.close()


def _core(
    conf: cfg.ConfigOpts,
    parts: Parts,
    node: Node,
    agent_certificate: AgentCertificate,
    agent_configuration: AgentConfiguration,
) -> CoreServices:
    paths, drivers, operations, locks = Paths.of(conf), parts.drivers, parts.operations, parts.locks
    scripts = _check_scripts(paths, parts)
    rules = InterfaceRules(paths.base, parts.nftables, locks, parts.namespace.ensure, operations)
    stored = stored_topology(conf)
    plug = make_plug(
        conf, drivers.network, locks, operations, rules, stored, parts.advertise, parts.look_for_links
    )
    vrrp = _vrrp(conf, parts, scripts)
    topology = _topology(conf, parts, stored, vrrp, plug)
    processes = ProcessReader(
        paths.haproxies, parts.service_status, max_old_workers=conf.haproxy_amphora.haproxy_max_old_workers
    )
    catalog = _catalog(conf, parts, scripts, processes, plug, rules)
    return CoreServices(
        workloads=catalog,
        status=StatusReader(paths.haproxies, paths.lvs_listeners, drivers.process_manager),
        processes=processes,
        certificates=Certificates(drivers.cert_store, catalog.haproxy, locks, operations),
        node=node,
        topology=topology,
        vrrp=vrrp,
        plug=plug,
        interface_rules=rules,
        agent_certificate=agent_certificate,
        agent_configuration=agent_configuration,
        operations=operations,
        drift=_drift(conf, parts, StoredWorkloads(catalog, vrrp, drivers.cert_store), topology, plug, rules),
        idempotency_store=IdempotencyStore(paths.answers),
    )


def _check_scripts(paths: Paths, parts: Parts) -> CheckScripts:
    return CheckScripts(
        paths.vrrp,
        paths.haproxies,
        parts.should_run,
        # By this very interpreter, since keepalived's PATH is not known.
        (sys.executable, "-I", "-m", "amphora.cmd.vrrp_check"),
        paths.lvs_listeners,
    )


def _vrrp(conf: cfg.ConfigOpts, parts: Parts, scripts: CheckScripts) -> VrrpWorkload:
    return parts.make_vrrp(
        Paths.of(conf).vrrp,
        WorkloadContext(parts.drivers.process_manager, parts.operations, parts.locks),
        parts.keepalived,
        VrrpSettings(conf.network.namespace, conf.haproxy_amphora.apply_timeout),
        scripts.install,
    )


def _topology(
    conf: cfg.ConfigOpts, parts: Parts, stored: StoredTopology, vrrp: VrrpWorkload, plug: Plug
) -> TopologyManager:
    namespace, group = conf.network.namespace, conf.keepalived_vrrp
    pair = parts.make_pair(vrrp, namespace, plug.configured, group.vrrp_advert_int, plug.hand_over_vip)
    return TopologyManager(stored, pair, parts.operations, group.topology_change_timeout)


def _catalog(
    conf: cfg.ConfigOpts,
    parts: Parts,
    scripts: CheckScripts,
    processes: ProcessReader,
    plug: Plug,
    rules: InterfaceRules,
) -> WorkloadCatalog:
    paths, group, drivers = Paths.of(conf), conf.haproxy_amphora, parts.drivers
    metrics = MetricsService(
        drivers.process_manager,
        paths.haproxies,
        parts.should_run,
        conf.network.namespace,
        (sys.executable, "-I", "-m", "amphora.cmd.prometheus_proxy", "--namespace", ""),
    )
    masquerade = LvsMasquerade(
        Masquerade(parts.nftables), drivers.network, paths.lvs_listeners, rules.are_in_force
    )

    def context(*on_change: Callable[[], None]) -> WorkloadContext:
        follow = (scripts.refresh, *on_change)
        return WorkloadContext(drivers.process_manager, parts.operations, parts.locks, plug.announce, follow)

    of_haproxy = context(metrics.refresh, processes.watch)
    of_lvs = context(masquerade.refresh)
    settings, lvs_settings = _haproxy_settings(conf), LvsSettings(group.apply_timeout)
    program = LvsProgram(parts.keepalived, conf.network.namespace, group.administrative_log_facility)
    return WorkloadCatalog(
        paths.haproxies,
        paths.lvs_listeners,
        parts.operations,
        lambda name: parts.make_haproxy(
            paths.haproxies.files(name),
            of_haproxy,
            parts.haproxy,
            drivers.cert_store,
            parts.namespace,
            settings,
        ),
        lambda name: parts.make_lvs(
            paths.lvs_listeners.files(name), of_lvs, program, parts.namespace, lvs_settings
        ),
        of_haproxy.changed,
        of_lvs.changed,
    )


def _drift(
    conf: cfg.ConfigOpts,
    parts: Parts,
    workloads: StoredWorkloads,
    topology: TopologyManager,
    plug: Plug,
    rules: InterfaceRules,
) -> Drift:
    return make_drift(
        _drift_settings(conf),
        workloads,
        topology,
        plug,
        rules,
        parts.drivers.network,
        namespace=conf.network.namespace,
        locks=parts.locks,
        operations=parts.operations,
    )


def _heartbeat(conf: cfg.ConfigOpts, drift: Drift) -> Heartbeat:
    paths = Paths.of(conf)
    return Heartbeat(
        _heartbeat_settings(conf),
        (HaproxySource(paths.haproxies), LvsSource(paths.lvs_listeners, conf.network.namespace)),
        CounterStore(paths.counters),
        partial(keepalived_is_missing, paths.vrrp),
        lambda: str(drift.counts()),
    )


def _heartbeat_settings(conf: cfg.ConfigOpts) -> HeartbeatSettings:
    group = conf.health_manager
    return HeartbeatSettings(
        tuple(group.controller_ip_port_list),
        float(group.heartbeat_interval),
        group.heartbeat_key or "",
        conf.amphora_agent.amphora_id or "",
    )


def _drift_settings(conf: cfg.ConfigOpts) -> DriftSettings:
    group = conf.drift
    healed = frozenset(name for name in HEALING_GROUPS if group[f"heal_{name}"] == "auto")
    return DriftSettings(float(group.interval), healed)


def _haproxy_settings(conf: cfg.ConfigOpts) -> HaproxySettings:
    group = conf.haproxy_amphora
    account = None
    if host.is_root():
        account = host.first_existing_user([group.haproxy_user] if group.haproxy_user else _HAPROXY_USERS)
    return HaproxySettings(
        apply_timeout=group.apply_timeout,
        overlay=OverlaySettings(
            stats_socket=Path(),
            log_target=group.haproxy_log_target,
            user_log_facility=group.user_log_facility,
            user=account[0] if account else None,
            group=account[1] if account else None,
            drain_seconds=group.haproxy_drain_time,
        ),
        memory_reserve=group.memory_reserve * MIB,
        max_old_workers=group.haproxy_max_old_workers,
        group_file=Paths.of(conf).default_group,
    )
