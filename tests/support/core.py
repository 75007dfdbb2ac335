# SPDX-License-Identifier: Apache-2.0
"""The real core over a fake process manager and an engine that runs no haproxy."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

from amphora.cmd.composition import Composition, Parts
from amphora.cmd.driver_loading import Drivers
from amphora.cmd.network_wiring import make_operations
from amphora.conf.opts import read_configuration
from amphora.core.agent_files import AgentCertificate, AgentConfiguration
from amphora.core.changes.expected import ANYTHING
from amphora.core.changes.locks import InstanceLocks
from amphora.core.network.data_namespace import DataNamespace
from amphora.core.topology import TopologyKind
from amphora.core.workloads.haproxy_files import HaproxyDirectory
from amphora.core.workloads.lvs_files import LvsDirectory
from amphora.core.workloads.vrrp_files import VrrpFiles
from amphora.drivers.cert_store.tmpfs import TmpfsCertStore
from amphora.drivers.package_manager.dpkg import DpkgPackageManager
from amphora.errors import ConfigurationError, InvalidInput
from amphora.models import ActionKind, ActionResult, Role, ServiceState, ServiceStatus
from amphora.system import files
from amphora.system.command import CommandRunner
from amphora.testing.fake_network import FakeNetwork
from amphora.testing.fake_process_manager import FakeProcessManager
from tests.support.workloads import Engine, FakeHaproxy, FakeLvs

AMPHORA_ID = "6e2bc8a0-2548-4fb7-a5f0-fb1ef4a696ce"


def configuration(base_path):
    """Return a configuration in which nothing but the base path is of this machine."""
    conf = read_configuration(base_path / "none.conf")
    for group, values in {
        "haproxy_amphora": {
            "base_path": str(base_path),
            "apply_timeout": 5.0,
            "haproxy_log_target": "",
        },
        "amphora_agent": {"amphora_id": AMPHORA_ID},
        "keepalived_vrrp": {"topology_change_timeout": 10.0},
        "network": {"namespace": ""},
    }.items():
        for name, value in values.items():
            conf.set_override(name, value, group=group)
    return conf


class FakeVrrp:
    """Notes what is asked of keepalived; may be told to fail or to wait."""

    def __init__(self, base_path):
        self.files = VrrpFiles(base_path)
        self.calls = []
        self.errors = []
        self.stored = None
        self.nowhere = set()
        self.actual_role = Role.UNKNOWN
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def _called(self, name, *arguments):
        self.calls.append((name, *arguments))
        self.may_go_on.wait(10)
        if self.errors:
            raise self.errors.pop(0)

    def upload(self, data, expected=ANYTHING):
        expected.require(self.stored)
        self._called("upload", data)
        self.stored = data
        return ""

    def stored_configuration(self):
        return self.stored

    def status(self):
        return ServiceStatus(ServiceState.ABSENT)

    @property
    def actions(self):
        return {"start": self.start, "stop": self.stop, "reload": self.reload}

    def start(self):
        self._called("start")
        return ActionResult(ActionKind.STARTED, 1)

    def stop(self):
        self._called("stop")
        return ActionResult(ActionKind.STOPPED, 1)

    def reload(self):
        self._called("reload")
        return ActionResult(ActionKind.RELOADED, 1)

    def require_interface(self, topology):
        if topology.ha_ip in self.nowhere:
            raise InvalidInput(f"Invalid ha_ip: {topology.ha_ip} is nowhere; plug the VIP first")

    def form_pair(self, topology):
        self._called("form_pair", topology)

    def leave_pair(self):
        self._called("leave_pair")

    def role(self):
        return self.actual_role


class FakeConfiguration:
    """The agent's configuration file; refuses content that holds BROKEN, and may be told to fail."""

    def __init__(self, path):
        self.path = path
        self.taken_up = []
        self.errors = []

    def validate(self, path):
        if b"BROKEN" in path.read_bytes():
            raise ConfigurationError(f"{path}: BROKEN is no option")

    def apply(self):
        if self.errors:
            raise self.errors.pop(0)
        self.taken_up.append(self.path.read_bytes())


class FakeNftables:
    """Notes what is loaded; ``errors`` are raised by its methods, one for each call."""

    def __init__(self):
        self.loaded = []
        self.errors = []

    def check(self, path):
        if self.errors:
            raise self.errors.pop(0)

    def load(self, path):
        self.apply(path.read_text())

    def apply(self, text):
        if self.errors:
            raise self.errors.pop(0)
        self.loaded.append(text)

    def content(self, family, table):
        last = self.loaded[-1] if self.loaded else "delete"
        return None if last.startswith("delete") else last.encode()


class CoreRig:
    """The core that the daemon composes, on a directory in memory, with fakes for parts.

    ``announced`` and ``changes`` note what others are told of LVS listeners, ``told`` what the network is.
    """

    def __init__(self, base_path: Path, processes=None, operations=None) -> None:
        self.base_path = base_path
        self.processes = processes or FakeProcessManager()
        self.cert_store = TmpfsCertStore(base_path / "certs")
        self.network = FakeNetwork()
        self.nftables = FakeNftables()
        self.vrrp = FakeVrrp(base_path)
        self.engine = Engine()
        self.told = []
        self.announced = []
        self.changes = 0
        self.rescans = 0
        self.agent_certificate = base_path / "agent.pem"
        self.configuration = FakeConfiguration(base_path / "amphora-agent.conf")
        files.ensure_directory(base_path)
        conf = configuration(base_path)
        self.operations = operations or make_operations(conf)
        self.services = Composition(
            conf,
            self._parts(),
            AgentCertificate(self.agent_certificate, lambda _path: None, lambda: None, self.operations),
            AgentConfiguration(
                self.configuration.path,
                self.configuration.validate,
                self.configuration.apply,
                self.operations,
            ),
        ).core
        self.topology, self.catalog = self.services.topology, self.services.workloads
        self.haproxy, self.lvs = self.catalog.haproxy, self.catalog.lvs
        self.directory, self.lvs_directory = HaproxyDirectory(base_path), LvsDirectory(base_path)

    def _parts(self):
        return Parts(
            self.operations,
            Drivers(self.processes, self.cert_store, DpkgPackageManager(), self.network),
            self.engine.haproxy,
            self.engine.keepalived,
            self.nftables,
            DataNamespace("", CommandRunner()),
            advertise=lambda address, interface, _mac: self.told.append((str(address), interface)),
            look_for_links=self._look_for_links,
            locks=InstanceLocks(timeout=10.0),
            make_haproxy=self._make_haproxy,
            make_lvs=self._make_lvs,
            make_vrrp=lambda *_given: self.vrrp,
            make_pair=lambda vrrp, *_given: vrrp,
        )

    def _make_haproxy(self, *given):
        *others, settings = given
        # The same one, whoever runs the tests.
        overlay = replace(settings.overlay, user=None, group="daemon")
        return FakeHaproxy(self.engine, *others, replace(settings, overlay=overlay))

    def _make_lvs(self, own_files, context, *given):
        def announce(addresses):
            self.announced.append({str(address) for address in addresses})
            context.announce(addresses)

        noted = replace(context, announce=announce, on_change=(*context.on_change, self._count))
        return FakeLvs(self.engine, own_files, noted, *given)

    def _count(self):
        self.changes += 1

    def siblings(self):
        """What is beside the base path; directories of tests that run meanwhile are left out."""
        return sorted(path for path in self.base_path.parent.iterdir() if not path.name.startswith("amp-"))

    def pair_up(self):
        """Make this amphora one of a pair, as its controller configures it."""
        self.topology.stored.default = TopologyKind.ACTIVE_STANDBY

    def _look_for_links(self):
        self.rescans += 1
