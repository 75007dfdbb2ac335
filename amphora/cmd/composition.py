# SPDX-License-Identifier: Apache-2.0
"""Builds drivers and core from configuration."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from oslo_config import cfg

from amphora.core.apply import Applier
from amphora.core.certificates import Certificates
from amphora.core.engine import EngineSettings, HaproxyEngine
from amphora.core.instance_status import StatusReader
from amphora.core.instances import Instances
from amphora.core.layout import InstanceDirectory
from amphora.core.locks import InstanceLocks
from amphora.core.node import Node
from amphora.core.sampler import Sampler, take_sample
from amphora.core.services import CoreServices
from amphora.drivers import loader
from amphora.drivers.base import Driver, DriverContext
from amphora.drivers.cert_store.base import CertStore
from amphora.drivers.network.base import NetworkDriver
from amphora.drivers.package_manager.base import PackageManager
from amphora.drivers.process_manager.base import ProcessManager
from amphora.errors import DriverUnavailable, OperationFailed
from amphora.haproxy.overlay import OverlaySettings
from amphora.haproxy.program import HaproxyProgram
from amphora.system import host
from amphora.system.command import CommandRunner

LOG = logging.getLogger(__name__)

D = TypeVar("D", bound=Driver)

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
_NETWORK = loader.Family[NetworkDriver]("network", NetworkDriver)  # type: ignore[type-abstract]


@dataclass(frozen=True, slots=True)
class Drivers:
    """The driver in use of each family; network and packages may have none to choose from."""

    process_manager: ProcessManager
    cert_store: CertStore
    package_manager: PackageManager | None
    network: NetworkDriver | None


class Composition:
    """Everything below the API, built and wired."""

    def __init__(
        self,
        core: CoreServices,
        drivers: Drivers,
        directory: InstanceDirectory,
        haproxy: HaproxyProgram,
        sampler: Sampler,
    ) -> None:
        self.core = core
        self._drivers = drivers
        self._directory = directory
        self._haproxy = haproxy
        self._sampler = sampler

    def recover(self) -> None:
        """Put in order what the last agent left, and take up what runs. Called once, before serving.

        :raises AmphoraError: the state on disk cannot be read or written.
        """
        self._directory.prepare()
        self._drivers.cert_store.recover()
        try:
            self._haproxy.refresh()
        except OperationFailed as error:
            LOG.error("haproxy cannot be run, so every upload will fail: %s", error)
        try:
            self._drivers.process_manager.supervise()
        except OperationFailed as error:
            LOG.error("not every service could be taken up: %s", error)
        self.core.instances.recover()
        self._sampler.start()

    def close(self) -> None:
        """Let go of what runs; it goes on."""
        self._sampler.close()
        self._drivers.process_manager.close()


def compose(conf: cfg.ConfigOpts) -> Composition:
    """Load the configured drivers and build the core on them. Nothing is changed on the machine.

    :raises StartupError: a driver cannot be loaded or used.
    """
    directory = InstanceDirectory(Path(conf.haproxy_amphora.base_path))
    directory.check_path()
    runner = CommandRunner()
    drivers = _load_drivers(conf, runner)
    haproxy = HaproxyProgram(Path(conf.haproxy_amphora.haproxy_cmd), runner)
    engine = HaproxyEngine(haproxy, drivers.process_manager, runner, _engine_settings(conf))
    locks = InstanceLocks()
    sampler = Sampler(lambda: take_sample(conf.network.namespace))
    instances = Instances(directory, engine, Applier(engine), drivers.cert_store, locks)
    core = CoreServices(
        instances=instances,
        status=StatusReader(directory, engine),
        certificates=Certificates(drivers.cert_store, instances, locks),
        node=Node(conf.amphora_agent.amphora_id or "", haproxy, directory, sampler, drivers.package_manager),
    )
    return Composition(core, drivers, directory, haproxy, sampler)


def _load_drivers(conf: cfg.ConfigOpts, runner: CommandRunner) -> Drivers:
    context = DriverContext(
        state_directory=Path(conf.haproxy_amphora.base_path) / "services",
        certificate_directory=Path(conf.haproxy_amphora.base_cert_dir),
        interface_directory=Path(conf.amphora_agent.agent_server_network_dir or _INTERFACES),
        namespace=conf.network.namespace,
        runner=runner,
    )
    return Drivers(
        loader.load(_PROCESS_MANAGER, conf.drivers.process_manager, context).driver,
        loader.load(_CERT_STORE, conf.drivers.cert_store, context).driver,
        _load_if_any(_PACKAGE_MANAGER, conf.drivers.package_manager, context),
        _load_if_any(_NETWORK, conf.drivers.network, context),
    )


def _load_if_any(family: loader.Family[D], name: str, context: DriverContext) -> D | None:
    """Load a driver; with ``auto``, a machine for which there is none does without.

    :raises StartupError: the driver was chosen by name and cannot be used.
    """
    try:
        return loader.load(family, name, context).driver
    except DriverUnavailable as error:
        if name != loader.AUTO:
            raise
        LOG.info("%s", error)
        return None


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
