# SPDX-License-Identifier: Apache-2.0
"""The real core over a fake process manager and an engine that runs no haproxy."""

from __future__ import annotations

import threading
from pathlib import Path

from amphora.core.agent_files import AgentCertificate, AgentConfiguration
from amphora.core.changes.expected import ANYTHING
from amphora.core.changes.idempotency_store import IdempotencyStore
from amphora.core.changes.journal import Journal
from amphora.core.changes.locks import InstanceLocks
from amphora.core.changes.operations import Operations
from amphora.core.changes.recovery import Recovery
from amphora.core.drift.drift import DriftSettings
from amphora.core.drift.sources import StoredWorkloads, make_drift
from amphora.core.network.interface_rules import InterfaceRules
from amphora.core.network.plug import Plug
from amphora.core.node import Node
from amphora.core.sampler import Sampler, take_sample
from amphora.core.services import CoreServices
from amphora.core.topology import StoredTopology, TopologyKind, TopologyManager
from amphora.core.workloads.certificates import Certificates
from amphora.core.workloads.haproxy_processes import ProcessReader
from amphora.core.workloads.vrrp_files import VrrpFiles
from amphora.drivers.package_manager.dpkg import DpkgPackageManager
from amphora.errors import ConfigurationError, InvalidInput
from amphora.haproxy.overlay import OverlaySettings
from amphora.models import ActionKind, ActionResult, Role, ServiceState, ServiceStatus
from amphora.system import files
from amphora.testing.fake_network import FakeNetwork
from amphora.testing.fake_process_manager import FakeProcessManager
from tests.support.workloads import FakeHaproxyProgram, WorkloadRig

AMPHORA_ID = "6e2bc8a0-2548-4fb7-a5f0-fb1ef4a696ce"


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
    """A core on a directory in memory, and the fakes below it."""

    def __init__(self, base_path: Path) -> None:
        self.base_path = base_path
        self.processes = FakeProcessManager()
        self.vrrp = FakeVrrp(base_path)
        self.network = FakeNetwork()
        self.told = []
        self.rescans = 0
        self.agent_certificate = base_path / "agent.pem"
        self.configuration = FakeConfiguration(base_path / "amphora-agent.conf")
        files.ensure_directory(base_path)
        locks = InstanceLocks(timeout=10.0)
        self.operations = operations = Operations(Journal(base_path / "operations"))
        sampler = Sampler(lambda: take_sample(""))
        stored = StoredTopology(base_path / "topology.json", TopologyKind.SINGLE)
        self.topology = TopologyManager(stored, self.vrrp, operations, time_limit=10.0)
        self.nftables = FakeNftables()
        rules = InterfaceRules(base_path, self.nftables, locks, lambda: None, operations)
        plug = self._plug(locks, rules)
        self.workloads = workloads = WorkloadRig(
            base_path,
            self.processes,
            operations,
            locks,
            plug.announce,
            overlay=OverlaySettings(Path(), group="daemon"),
            group_file=base_path / "haproxy-default-user-group.conf",
        )
        self.engine, self.cert_store, self.catalog = workloads.engine, workloads.cert_store, workloads.catalog
        self.directory, self.haproxy, self.lvs = workloads.haproxy_directory, workloads.haproxy, workloads.lvs
        program, packages = FakeHaproxyProgram(), DpkgPackageManager()
        self.services = CoreServices(
            workloads=self.catalog,
            status=workloads.status,
            processes=ProcessReader(self.directory, lambda own: self.processes.status(own.service_name)),
            certificates=Certificates(self.cert_store, self.haproxy, locks, operations),
            node=Node(AMPHORA_ID, program, self.directory, sampler, packages, Recovery()),
            topology=self.topology,
            vrrp=self.vrrp,
            plug=plug,
            interface_rules=rules,
            agent_certificate=AgentCertificate(
                self.agent_certificate, lambda _path: None, lambda: None, operations
            ),
            agent_configuration=AgentConfiguration(
                self.configuration.path, self.configuration.validate, self.configuration.apply, operations
            ),
            operations=operations,
            drift=self._drift(locks, plug, rules),
            idempotency_store=IdempotencyStore(base_path / "answers"),
        )

    def _plug(self, locks, rules):
        return Plug(
            self.network,
            locks,
            self.operations,
            vip_is_ours=self.topology.stored.interface_holds_vip,
            advertise=lambda address, interface, _mac: self.told.append((str(address), interface)),
            guard=rules.protect,
            look_for_links=self._look_for_links,
        )

    def _drift(self, locks, plug, rules):
        return make_drift(
            DriftSettings(),
            StoredWorkloads(self.catalog, self.vrrp, self.cert_store),
            self.topology,
            plug,
            rules,
            self.network,
            namespace="",
            locks=locks,
            operations=self.operations,
        )

    def siblings(self):
        """What is beside the base path; directories of tests that run meanwhile are left out."""
        return sorted(path for path in self.base_path.parent.iterdir() if not path.name.startswith("amp-"))

    def pair_up(self):
        """Make this amphora one of a pair, as its controller configures it."""
        self.topology.stored.default = TopologyKind.ACTIVE_STANDBY

    def _look_for_links(self):
        self.rescans += 1
