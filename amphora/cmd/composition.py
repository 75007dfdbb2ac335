# SPDX-License-Identifier: Apache-2.0
"""Builds drivers and core from configuration."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from oslo_config import cfg

from amphora.cmd.drift import drift_settings
from amphora.cmd.driver_loading import Drivers, load_drivers
from amphora.cmd.heartbeat import heartbeat_settings, make_heartbeat
from amphora.cmd.network_wiring import (
    configured_topology,
    make_data_namespace,
    make_interface_rules,
    make_lvs_masquerade,
    make_plug,
    stored_topology,
)
from amphora.cmd.paths import Paths
from amphora.core.agent_files import AgentCertificate, AgentConfiguration
from amphora.core.changes.idempotency_store import IdempotencyStore
from amphora.core.changes.locks import InstanceLocks
from amphora.core.changes.operations import Operations
from amphora.core.changes.recovery import Recovery
from amphora.core.drift.sources import StoredWorkloads, make_drift
from amphora.core.network.data_namespace import DataNamespace
from amphora.core.network.interface_rules import InterfaceRules
from amphora.core.network.plug import Plug
from amphora.core.node import Node
from amphora.core.pair import Pair
from amphora.core.sampler import Sampler, take_sample
from amphora.core.services import CoreServices
from amphora.core.topology import StoredTopology, TopologyManager
from amphora.core.workloads.catalog import WorkloadCatalog
from amphora.core.workloads.certificates import Certificates
from amphora.core.workloads.check_scripts import CheckScripts
from amphora.core.workloads.haproxy import HaproxySettings, HaproxyWorkload
from amphora.core.workloads.haproxy_files import HaproxyDirectory
from amphora.core.workloads.haproxy_processes import ProcessReader
from amphora.core.workloads.lvs import LvsSettings, LvsWorkload
from amphora.core.workloads.lvs_files import LvsDirectory
from amphora.core.workloads.metrics_service import MetricsService
from amphora.core.workloads.status import StatusReader
from amphora.core.workloads.vrrp import VrrpSettings, VrrpWorkload
from amphora.core.workloads.workload import WorkloadContext
from amphora.haproxy.overlay import OverlaySettings
from amphora.haproxy.preflight.capacity import MIB
from amphora.haproxy.program import HaproxyProgram
from amphora.health.heartbeat import Heartbeat
from amphora.keepalived.program import KeepalivedProgram, LvsProgram
from amphora.system import host
from amphora.system.command import CommandRunner

LOG = logging.getLogger(__name__)

_HAPROXY_USERS = ("haproxy", "nobody")


class Composition:
    """Everything below the API, built and wired."""

    def __init__(
        self,
        core: CoreServices,
        drivers: Drivers,
        directory: HaproxyDirectory,
        foundation: Foundation,
        heartbeat: Heartbeat,
    ) -> None:
        self.core = core
        self._heartbeat = heartbeat
        self._drivers = drivers
        self._directory = directory
        self._foundation = foundation

    def recover(self) -> None:
        """Put in order what the last agent left, and take up what runs. Called once, before serving.

        :raises AmphoraError: the state on disk cannot be read or written.
        """
        self._directory.prepare()
        self._drivers.cert_store.recover()
        core, take = self.core, self._foundation.recovery.take
        # Each part looks here for what was cut off in the middle of a change.
        take("operations", self._foundation.operations.recover)
        # Services need the namespace and its interfaces; keepalived's own state needs its service.
        take("namespace", self._foundation.namespace.prepare)
        take("interface rules", core.interface_rules.recover)
        take("interfaces", core.plug.recover)
        take("haproxy", self._foundation.haproxy.refresh)
        take("haproxy of another agent", core.workloads.adopt)
        take("services", self._drivers.process_manager.supervise)
        take("keepalived", core.vrrp.recover)
        take("topology", core.topology.recover)
        take("certificates", core.certificates.recover)
        take("instances", core.workloads.recover_haproxies)
        take("LVS listeners", core.workloads.recover_lvs_listeners)
        take("agent files", self._recover_agent_files)
        take("answers", core.idempotency_store.recover)
        self._foundation.sampler.start()
        self._heartbeat.start()
        core.drift.start()

    def _recover_agent_files(self) -> None:
        self.core.agent_certificate.recover()
        self.core.agent_configuration.recover()
        self._foundation.operations.settle_rest()

    def reconfigure(self, conf: cfg.ConfigOpts) -> None:
        """Take up what a running agent can of a configuration that was read again."""
        self.core.topology.stored.default = configured_topology(conf)
        self._heartbeat.reconfigure(heartbeat_settings(conf))
        self.core.drift.reconfigure(drift_settings(conf))

    def close(self) -> None:
        """Let go of what runs; it goes on."""
        self.core.drift.close()
        self._heartbeat.close()
        self._foundation.sampler.close()
        self.core.topology.close()
        self.core.vrrp.close()
        self._drivers.process_manager.close()


@dataclass(frozen=True, slots=True)
class Foundation:
    """What several parts of the core stand on."""

    runner: CommandRunner
    locks: InstanceLocks
    haproxy: HaproxyProgram
    sampler: Sampler
    recovery: Recovery
    namespace: DataNamespace
    operations: Operations


@dataclass(frozen=True, slots=True)
class AgentFiles:
    """The files that are the running agent's own, which only it can take up."""

    operations: Operations
    certificate: AgentCertificate
    configuration: AgentConfiguration


def compose(conf: cfg.ConfigOpts, agent_files: AgentFiles) -> Composition:
    """Load the configured drivers and build the core on them. Nothing is changed on the machine.

    :raises StartupError: a driver cannot be loaded or used.
    """
    directory = Paths.of(conf).haproxies
    directory.check_path()
    runner = CommandRunner()
    foundation = Foundation(
        runner,
        InstanceLocks(),
        HaproxyProgram(Path(conf.haproxy_amphora.haproxy_cmd), runner),
        Sampler(lambda: take_sample(conf.network.namespace)),
        Recovery(),
        make_data_namespace(conf, runner),
        agent_files.operations,
    )
    drivers = load_drivers(conf, runner)
    core = _core(conf, drivers, directory, foundation, agent_files)
    heartbeat = make_heartbeat(conf, core.drift)
    return Composition(core, drivers, directory, foundation, heartbeat)


def _core(
    conf: cfg.ConfigOpts,
    drivers: Drivers,
    directory: HaproxyDirectory,
    foundation: Foundation,
    agent_files: AgentFiles,
) -> CoreServices:
    locks, operations = foundation.locks, foundation.operations
    paths = Paths.of(conf)
    scripts = _check_scripts(conf, directory, drivers)
    vrrp = _vrrp(conf, drivers, foundation, scripts.install)
    rules = make_interface_rules(conf, foundation.runner, locks, operations)
    stored = stored_topology(conf)
    plug = make_plug(conf, drivers.network, locks, operations, rules, stored)
    topology = _topology(conf, stored, vrrp, plug, operations)
    processes = ProcessReader(
        directory,
        lambda own: drivers.process_manager.status(own.service_name),
        max_old_workers=conf.haproxy_amphora.haproxy_max_old_workers,
    )
    catalog = _catalog(_Base(conf, drivers, directory, foundation, scripts, plug, processes, rules))
    drift = make_drift(
        drift_settings(conf),
        StoredWorkloads(catalog, vrrp, drivers.cert_store),
        topology,
        plug,
        rules,
        drivers.network,
        namespace=conf.network.namespace,
        locks=locks,
        operations=operations,
    )
    return CoreServices(
        workloads=catalog,
        status=StatusReader(directory, paths.lvs_listeners, drivers.process_manager),
        processes=processes,
        certificates=Certificates(drivers.cert_store, catalog.haproxy, locks, operations),
        node=_node(conf, drivers, directory, foundation),
        topology=topology,
        vrrp=vrrp,
        plug=plug,
        interface_rules=rules,
        agent_certificate=agent_files.certificate,
        agent_configuration=agent_files.configuration,
        operations=operations,
        drift=drift,
        idempotency_store=IdempotencyStore(paths.answers),
    )


@dataclass(frozen=True, slots=True)
class _Base:
    """What workloads are made of."""

    conf: cfg.ConfigOpts
    drivers: Drivers
    directory: HaproxyDirectory
    foundation: Foundation
    scripts: CheckScripts
    plug: Plug
    processes: ProcessReader
    rules: InterfaceRules

    def context(self, *on_change: Callable[[], None]) -> WorkloadContext:
        """Return what workloads of one kind share."""
        return WorkloadContext(
            self.drivers.process_manager,
            self.foundation.operations,
            self.foundation.locks,
            self.plug.announce,
            (self.scripts.refresh, *on_change),
        )


def _catalog(base: _Base) -> WorkloadCatalog:
    lvs_directory = Paths.of(base.conf).lvs_listeners
    metrics = _metrics(base.conf, base.drivers, base.directory)
    masquerade = make_lvs_masquerade(base.conf, base.drivers.network, base.foundation.runner, base.rules)
    of_haproxy = base.context(metrics.refresh, base.processes.watch)
    of_lvs = base.context(masquerade.refresh)
    return WorkloadCatalog(
        base.directory,
        lvs_directory,
        base.foundation.operations,
        _haproxy_maker(base, of_haproxy),
        _lvs_maker(base, of_lvs, lvs_directory),
        of_haproxy.changed,
        of_lvs.changed,
    )


def _haproxy_maker(base: _Base, context: WorkloadContext) -> Callable[[str], HaproxyWorkload]:
    foundation, settings = base.foundation, _haproxy_settings(base.conf)
    return lambda name: HaproxyWorkload(
        base.directory.files(name),
        context,
        foundation.haproxy,
        base.drivers.cert_store,
        foundation.namespace,
        settings,
    )


def _lvs_maker(
    base: _Base, context: WorkloadContext, directory: LvsDirectory
) -> Callable[[str], LvsWorkload]:
    conf, namespace = base.conf, base.foundation.namespace
    keepalived = KeepalivedProgram(Path(conf.keepalived_vrrp.keepalived_cmd), base.foundation.runner)
    program = LvsProgram(keepalived, conf.network.namespace, conf.haproxy_amphora.administrative_log_facility)
    settings = LvsSettings(conf.haproxy_amphora.apply_timeout)
    return lambda name: LvsWorkload(directory.files(name), context, program, namespace, settings)


def _node(
    conf: cfg.ConfigOpts, drivers: Drivers, directory: HaproxyDirectory, foundation: Foundation
) -> Node:
    return Node(
        conf.amphora_agent.amphora_id or "",
        foundation.haproxy,
        directory,
        foundation.sampler,
        drivers.package_manager,
        foundation.recovery,
    )


def _check_scripts(conf: cfg.ConfigOpts, directory: HaproxyDirectory, drivers: Drivers) -> CheckScripts:
    return CheckScripts(
        Paths.of(conf).vrrp,
        directory,
        lambda own: not drivers.process_manager.status(own.service_name).state.is_at_rest,
        # By this very interpreter, since keepalived's PATH is not known.
        (sys.executable, "-I", "-m", "amphora.cmd.vrrp_check"),
        Paths.of(conf).lvs_listeners,
    )


def _metrics(conf: cfg.ConfigOpts, drivers: Drivers, directory: HaproxyDirectory) -> MetricsService:
    return MetricsService(
        drivers.process_manager,
        directory,
        lambda own: not drivers.process_manager.status(own.service_name).state.is_at_rest,
        conf.network.namespace,
        (sys.executable, "-I", "-m", "amphora.cmd.prometheus_proxy", "--namespace", ""),
    )


def _vrrp(
    conf: cfg.ConfigOpts, drivers: Drivers, foundation: Foundation, install_scripts: Callable[[], None]
) -> VrrpWorkload:
    return VrrpWorkload(
        Paths.of(conf).vrrp,
        WorkloadContext(drivers.process_manager, foundation.operations, foundation.locks),
        KeepalivedProgram(Path(conf.keepalived_vrrp.keepalived_cmd), foundation.runner),
        VrrpSettings(conf.network.namespace, conf.haproxy_amphora.apply_timeout),
        install_scripts,
    )


def _topology(
    conf: cfg.ConfigOpts, stored: StoredTopology, vrrp: VrrpWorkload, plug: Plug, operations: Operations
) -> TopologyManager:
    group = conf.keepalived_vrrp
    pair = Pair(vrrp, conf.network.namespace, plug.configured, group.vrrp_advert_int, plug.hand_over_vip)
    return TopologyManager(stored, pair, operations, group.topology_change_timeout)


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
