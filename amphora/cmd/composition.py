# SPDX-License-Identifier: Apache-2.0
"""Builds drivers and core from configuration."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from oslo_config import cfg

from amphora.cmd.drift import DriftSources, drift_settings, make_drift
from amphora.cmd.driver_loading import Drivers, load_drivers
from amphora.cmd.heartbeat import heartbeat_settings, make_heartbeat
from amphora.cmd.lvs import make_lvs
from amphora.cmd.network_wiring import (
    configured_topology,
    make_data_namespace,
    make_interface_rules,
    make_lvs_masquerade,
    make_plug,
    topology_file,
)
from amphora.core.agent_files import AgentCertificate, AgentConfiguration
from amphora.core.changes.idempotency_store import IdempotencyStore
from amphora.core.changes.locks import InstanceLocks
from amphora.core.changes.operations import Operations
from amphora.core.changes.recovery import Recovery
from amphora.core.drift.drift import Drift
from amphora.core.network.data_namespace import DataNamespace
from amphora.core.network.interface_rules import InterfaceRules
from amphora.core.network.plug import Plug
from amphora.core.node import Node
from amphora.core.pair import Pair
from amphora.core.sampler import Sampler, take_sample
from amphora.core.services import CoreServices
from amphora.core.topology import TopologyKind, TopologyManager
from amphora.core.workloads.catalog import ServedObjects
from amphora.core.workloads.certificates import Certificates
from amphora.core.workloads.check_scripts import CheckScripts
from amphora.core.workloads.haproxy import EngineSettings, HaproxyEngine
from amphora.core.workloads.haproxy_files import InstanceDirectory
from amphora.core.workloads.haproxy_processes import ProcessReader
from amphora.core.workloads.haproxy_status import StatusReader
from amphora.core.workloads.lvs_files import LvsDirectory
from amphora.core.workloads.lvs_listeners import LvsListeners
from amphora.core.workloads.lvs_status import LvsStatusReader
from amphora.core.workloads.metrics_service import MetricsService
from amphora.core.workloads.vrrp import Vrrp
from amphora.core.workloads.vrrp_engine import VrrpEngine, VrrpSettings
from amphora.core.workloads.vrrp_files import VrrpLayout
from amphora.core.workloads.workload import Instances
from amphora.haproxy.overlay import OverlaySettings
from amphora.haproxy.preflight.capacity import MIB
from amphora.haproxy.program import HaproxyProgram
from amphora.health.heartbeat import Heartbeat
from amphora.keepalived.program import KeepalivedProgram
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
        directory: InstanceDirectory,
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
        take("haproxy of another agent", core.instances.adopt)
        take("services", self._drivers.process_manager.supervise)
        take("keepalived", core.vrrp.recover)
        take("topology", core.topology.recover)
        take("certificates", core.certificates.recover)
        take("instances", core.instances.recover)
        take("LVS listeners", core.lvs.recover)
        take("own files", self._recover_own_files)
        take("answers", core.idempotency_store.recover)
        self._foundation.sampler.start()
        self._heartbeat.start()
        core.drift.start()

    def _recover_own_files(self) -> None:
        self.core.agent_certificate.recover()
        self.core.agent_configuration.recover()
        self._foundation.operations.settle_rest()

    def reconfigure(self, conf: cfg.ConfigOpts) -> None:
        """Take up what a running agent can of a configuration that was read again."""
        self.core.topology.default = configured_topology(conf)
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
class OwnFiles:
    """The files that are the running agent's own, which only it can take up."""

    operations: Operations
    certificate: AgentCertificate
    configuration: AgentConfiguration


def compose(conf: cfg.ConfigOpts, own_files: OwnFiles) -> Composition:
    """Load the configured drivers and build the core on them. Nothing is changed on the machine.

    :raises StartupError: a driver cannot be loaded or used.
    """
    directory = InstanceDirectory(Path(conf.haproxy_amphora.base_path))
    directory.check_path()
    runner = CommandRunner()
    foundation = Foundation(
        runner,
        InstanceLocks(),
        HaproxyProgram(Path(conf.haproxy_amphora.haproxy_cmd), runner),
        Sampler(lambda: take_sample(conf.network.namespace)),
        Recovery(),
        make_data_namespace(conf, runner),
        own_files.operations,
    )
    drivers = load_drivers(conf, runner)
    core = _core(conf, drivers, directory, foundation, own_files)
    heartbeat = make_heartbeat(conf, directory, lambda: str(core.drift.counts()))
    return Composition(core, drivers, directory, foundation, heartbeat)


def _core(
    conf: cfg.ConfigOpts,
    drivers: Drivers,
    directory: InstanceDirectory,
    foundation: Foundation,
    own_files: OwnFiles,
) -> CoreServices:
    locks = foundation.locks
    engine = HaproxyEngine(
        foundation.haproxy, drivers.process_manager, foundation.runner, _engine_settings(conf)
    )
    scripts = _check_scripts(conf, directory, engine)
    vrrp = _vrrp(conf, drivers, foundation, scripts.install)
    rules = make_interface_rules(conf, foundation.runner, locks, foundation.operations)
    plug = make_plug(
        conf,
        drivers.network,
        locks,
        foundation.operations,
        rules,
        lambda: topology.current().kind is not TopologyKind.ACTIVE_STANDBY,
    )
    topology = _topology(conf, vrrp, plug, foundation.operations)
    processes = ProcessReader(
        directory, engine.status, max_old_workers=conf.haproxy_amphora.haproxy_max_old_workers
    )
    base = _Base(conf, drivers, directory, foundation, engine, scripts, plug, processes)
    instances, lvs = _instances(base), _lvs(base, rules)
    return CoreServices(
        instances=instances,
        status=StatusReader(directory, engine),
        processes=processes,
        lvs=lvs.listeners,
        lvs_status=lvs.status,
        objects=ServedObjects(directory, instances, lvs.listeners),
        certificates=Certificates(drivers.cert_store, instances, locks, foundation.operations),
        node=_node(conf, drivers, directory, foundation),
        topology=topology,
        vrrp=vrrp,
        plug=plug,
        interface_rules=rules,
        agent_certificate=own_files.certificate,
        agent_configuration=own_files.configuration,
        operations=foundation.operations,
        drift=_drift(base, instances, lvs.listeners, rules, vrrp, topology),
        idempotency_store=IdempotencyStore(Path(conf.haproxy_amphora.base_path) / "answers"),
    )


@dataclass(frozen=True, slots=True)
class _Base:
    """What the use cases of both engines are made of."""

    conf: cfg.ConfigOpts
    drivers: Drivers
    directory: InstanceDirectory
    foundation: Foundation
    engine: HaproxyEngine
    scripts: CheckScripts
    plug: Plug
    processes: ProcessReader


@dataclass(frozen=True, slots=True)
class _Lvs:
    listeners: LvsListeners
    status: LvsStatusReader


def _instances(base: _Base) -> Instances:
    metrics = _metrics(base.conf, base.drivers, base.directory, base.engine)
    return Instances(
        base.directory,
        base.engine,
        base.foundation.operations,
        base.drivers.cert_store,
        base.foundation.locks,
        base.plug.announce,
        _all_of(base.scripts.refresh, metrics.refresh, base.processes.watch),
    )


def _lvs(base: _Base, rules: InterfaceRules) -> _Lvs:
    foundation, drivers = base.foundation, base.drivers
    lvs = make_lvs(base.conf, drivers.process_manager, foundation.runner, foundation.namespace)
    masquerade = make_lvs_masquerade(base.conf, drivers.network, foundation.runner, rules)
    listeners = LvsListeners(
        lvs.directory,
        lvs.engine,
        foundation.operations,
        foundation.locks,
        base.plug.announce,
        _all_of(base.scripts.refresh, masquerade.refresh),
    )
    return _Lvs(listeners, LvsStatusReader(lvs.directory, lvs.engine))


def _drift(
    base: _Base,
    instances: Instances,
    lvs: LvsListeners,
    rules: InterfaceRules,
    vrrp: Vrrp,
    topology: TopologyManager,
) -> Drift:
    sources = DriftSources(
        directory=base.directory,
        vrrp_layout=VrrpLayout(Path(base.conf.haproxy_amphora.base_path)),
        lvs_directory=LvsDirectory(Path(base.conf.haproxy_amphora.base_path)),
        process_manager=base.drivers.process_manager,
        network=base.drivers.network,
        cert_store=base.drivers.cert_store,
        engine=base.engine,
        locks=base.foundation.locks,
        operations=base.foundation.operations,
        instances=instances,
        lvs=lvs,
        plug=base.plug,
        rules=rules,
        vrrp=vrrp,
        topology=topology,
    )
    return make_drift(drift_settings(base.conf), sources)


def _node(
    conf: cfg.ConfigOpts, drivers: Drivers, directory: InstanceDirectory, foundation: Foundation
) -> Node:
    return Node(
        conf.amphora_agent.amphora_id or "",
        foundation.haproxy,
        directory,
        foundation.sampler,
        drivers.package_manager,
        foundation.recovery,
    )


def _check_scripts(conf: cfg.ConfigOpts, directory: InstanceDirectory, engine: HaproxyEngine) -> CheckScripts:
    return CheckScripts(
        VrrpLayout(Path(conf.haproxy_amphora.base_path)),
        directory,
        lambda layout: not engine.status(layout).state.is_at_rest,
        # By this very interpreter, since nobody knows which PATH keepalived has.
        (sys.executable, "-I", "-m", "amphora.cmd.vrrp_check"),
        LvsDirectory(Path(conf.haproxy_amphora.base_path)),
    )


def _metrics(
    conf: cfg.ConfigOpts, drivers: Drivers, directory: InstanceDirectory, engine: HaproxyEngine
) -> MetricsService:
    return MetricsService(
        drivers.process_manager,
        directory,
        lambda layout: not engine.status(layout).state.is_at_rest,
        conf.network.namespace,
        (sys.executable, "-I", "-m", "amphora.cmd.prometheus_proxy", "--namespace", ""),
    )


def _all_of(*functions: Callable[[], None]) -> Callable[[], None]:
    def call() -> None:
        for function in functions:
            function()

    return call


def _vrrp(
    conf: cfg.ConfigOpts, drivers: Drivers, foundation: Foundation, install_scripts: Callable[[], None]
) -> Vrrp:
    layout = VrrpLayout(Path(conf.haproxy_amphora.base_path))
    program = KeepalivedProgram(Path(conf.keepalived_vrrp.keepalived_cmd), foundation.runner)
    settings = VrrpSettings(conf.network.namespace, conf.haproxy_amphora.apply_timeout)
    engine = VrrpEngine(layout, program, drivers.process_manager, settings)
    return Vrrp(layout, engine, foundation.locks, foundation.operations, install_scripts)


def _topology(conf: cfg.ConfigOpts, vrrp: Vrrp, plug: Plug, operations: Operations) -> TopologyManager:
    group = conf.keepalived_vrrp
    pair = Pair(vrrp, conf.network.namespace, plug.configured, group.vrrp_advert_int, plug.hand_over_vip)
    return TopologyManager(
        topology_file(conf),
        configured_topology(conf),
        pair,
        operations,
        group.topology_change_timeout,
    )


def _engine_settings(conf: cfg.ConfigOpts) -> EngineSettings:
    group = conf.haproxy_amphora
    account = None
    if host.is_root():
        account = host.first_existing_user([group.haproxy_user] if group.haproxy_user else _HAPROXY_USERS)
    return EngineSettings(
        namespace=conf.network.namespace,
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
        group_file=Path(group.base_path) / "haproxy-default-user-group.conf",
    )
