# SPDX-License-Identifier: Apache-2.0
"""Builds drivers and core from configuration."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from oslo_config import cfg

from amphora.core.agent_certificate import AgentCertificate
from amphora.core.apply import Applier
from amphora.core.certificates import Certificates
from amphora.core.engine import EngineSettings, HaproxyEngine
from amphora.core.instance_status import StatusReader
from amphora.core.instances import Instances
from amphora.core.layout import InstanceDirectory
from amphora.core.locks import InstanceLocks
from amphora.core.node import Node
from amphora.core.pair import Pair
from amphora.core.plug import Plug
from amphora.core.recovery import Recovery
from amphora.core.sampler import Sampler, take_sample
from amphora.core.services import CoreServices
from amphora.core.topology import TopologyKind, TopologyManager
from amphora.core.vrrp import Vrrp
from amphora.core.vrrp_engine import VrrpEngine, VrrpSettings
from amphora.core.vrrp_layout import VrrpLayout
from amphora.drivers import loader
from amphora.drivers.base import Driver, DriverContext
from amphora.drivers.cert_store.base import CertStore
from amphora.drivers.network.base import NetworkDriver
from amphora.drivers.network.unavailable import UnavailableNetwork
from amphora.drivers.package_manager.base import PackageManager
from amphora.drivers.process_manager.base import ProcessManager
from amphora.errors import DriverUnavailable
from amphora.haproxy.overlay import OverlaySettings
from amphora.haproxy.program import HaproxyProgram
from amphora.keepalived.program import KeepalivedProgram
from amphora.system import host
from amphora.system.advertisements import advertise
from amphora.system.command import CommandRunner

LOG = logging.getLogger(__name__)

D = TypeVar("D", bound=Driver)
S = TypeVar("S")

_INTERFACES = "/etc/octavia/interfaces"
_HAPROXY_USERS = ("haproxy", "nobody")


_PROCESS_MANAGER = loader.Family[ProcessManager](
    # Where an init system runs the machine it runs services best; standalone works everywhere.
    "process_manager",
    ProcessManager,  # type: ignore[type-abstract]
    preferred=("systemd",),
    last_resort=("standalone",),
)
_CERT_STORE = loader.Family[CertStore]("cert_store", CertStore)  # type: ignore[type-abstract]
_PACKAGE_MANAGER = loader.Family[PackageManager](
    "package_manager",
    PackageManager,  # type: ignore[type-abstract]
    preferred=("dpkg",),
)
_NETWORK = loader.Family[NetworkDriver](
    # pyroute2 starts no process and takes its time in milliseconds.
    "network",
    NetworkDriver,  # type: ignore[type-abstract]
    preferred=("pyroute2",),
    last_resort=("ifupdown",),
)


@dataclass(frozen=True, slots=True)
class Drivers:
    """The driver in use of each family; there may be none for a machine's packages."""

    process_manager: ProcessManager
    cert_store: CertStore
    package_manager: PackageManager | None
    network: NetworkDriver


class Composition:
    """Everything below the API, built and wired."""

    def __init__(
        self, core: CoreServices, drivers: Drivers, directory: InstanceDirectory, foundation: Foundation
    ) -> None:
        self.core = core
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
        # Services need the namespace and its interfaces; keepalived's own state needs its service.
        take("interfaces", core.plug.recover)
        take("haproxy", self._foundation.haproxy.refresh)
        take("services", self._drivers.process_manager.supervise)
        take("keepalived", core.vrrp.recover)
        take("topology", core.topology.recover)
        take("instances", core.instances.recover)
        self._foundation.sampler.start()

    def close(self) -> None:
        """Let go of what runs; it goes on."""
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


def compose(
    conf: cfg.ConfigOpts, try_out_certificate: Callable[[Path], None], take_up_certificate: Callable[[], None]
) -> Composition:
    """Load the configured drivers and build the core on them. Nothing is changed on the machine.

    :param try_out_certificate: raises where the server could not use the material in a file.
    :param take_up_certificate: makes the server use its certificate file for new connections.
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
    )
    drivers = _load_drivers(conf, runner)
    certificate = AgentCertificate(
        Path(conf.amphora_agent.agent_server_cert), try_out_certificate, take_up_certificate
    )
    return Composition(
        _core(conf, drivers, directory, foundation, certificate), drivers, directory, foundation
    )


def _core(
    conf: cfg.ConfigOpts,
    drivers: Drivers,
    directory: InstanceDirectory,
    foundation: Foundation,
    certificate: AgentCertificate,
) -> CoreServices:
    locks = foundation.locks
    engine = HaproxyEngine(
        foundation.haproxy, drivers.process_manager, foundation.runner, _engine_settings(conf)
    )
    instances = Instances(directory, engine, Applier(engine), drivers.cert_store, locks)
    vrrp = _vrrp(conf, drivers, foundation)
    plug = Plug(
        drivers.network,
        locks,
        vip_is_ours=lambda: topology.current().kind is not TopologyKind.ACTIVE_STANDBY,
        advertise=lambda address, interface, mac: advertise(address, interface, mac, conf.network.namespace),
    )
    topology = _topology(conf, vrrp, plug)
    return CoreServices(
        instances=instances,
        status=StatusReader(directory, engine),
        certificates=Certificates(drivers.cert_store, instances, locks),
        node=Node(
            conf.amphora_agent.amphora_id or "",
            foundation.haproxy,
            directory,
            foundation.sampler,
            drivers.package_manager,
            foundation.recovery,
        ),
        topology=topology,
        vrrp=vrrp,
        plug=plug,
        agent_certificate=certificate,
    )


def _vrrp(conf: cfg.ConfigOpts, drivers: Drivers, foundation: Foundation) -> Vrrp:
    layout = VrrpLayout(Path(conf.haproxy_amphora.base_path))
    program = KeepalivedProgram(Path(conf.keepalived_vrrp.keepalived_cmd), foundation.runner)
    settings = VrrpSettings(conf.network.namespace, conf.haproxy_amphora.apply_timeout)
    return Vrrp(layout, VrrpEngine(layout, program, drivers.process_manager, settings), foundation.locks)


def _topology(conf: cfg.ConfigOpts, vrrp: Vrrp, plug: Plug) -> TopologyManager:
    group = conf.keepalived_vrrp
    pair = Pair(vrrp, conf.network.namespace, group.vrrp_advert_int, plug.hand_over_vip)
    return TopologyManager(
        Path(conf.haproxy_amphora.base_path) / "topology.json",
        TopologyKind(conf.controller_worker.loadbalancer_topology.replace("_", "-")),
        pair,
        group.topology_change_timeout,
    )


def _load_drivers(conf: cfg.ConfigOpts, runner: CommandRunner) -> Drivers:
    base_path = Path(conf.haproxy_amphora.base_path)
    context = DriverContext(
        state_directory=base_path / "services",
        certificate_directory=Path(conf.haproxy_amphora.base_cert_dir),
        interface_directory=Path(conf.amphora_agent.agent_server_network_dir or _INTERFACES),
        namespace=conf.network.namespace,
        runner=runner,
    )
    return Drivers(
        loader.load(_PROCESS_MANAGER, conf.drivers.process_manager, context).driver,
        loader.load(_CERT_STORE, conf.drivers.cert_store, context).driver,
        _load_or_else(_PACKAGE_MANAGER, conf.drivers.package_manager, context, lambda _reason: None),
        _load_or_else(
            _NETWORK,
            conf.drivers.network,
            replace(context, state_directory=base_path / "network"),
            lambda reason: UnavailableNetwork(context.namespace, reason),
        ),
    )


def _load_or_else(
    family: loader.Family[D], name: str, context: DriverContext, substitute: Callable[[str], S]
) -> D | S:
    """Load a driver; where ``auto`` finds none that can work here, use a substitute.

    :raises StartupError: the driver was chosen by name and cannot be used.
    """
    try:
        return loader.load(family, name, context).driver
    except DriverUnavailable as error:
        if name != loader.AUTO:
            raise
        LOG.info("%s", error)
        return substitute(error.details)


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
        ),
    )
