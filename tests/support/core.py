# SPDX-License-Identifier: Apache-2.0
"""The real core over a fake process manager and an engine that runs no haproxy."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from amphora.cmd.drift import DriftSources, make_drift
from amphora.core.agent_files import AgentCertificate, AgentConfiguration
from amphora.core.changes.expected import ANYTHING
from amphora.core.changes.idempotency_store import IdempotencyStore
from amphora.core.changes.journal import Journal
from amphora.core.changes.locks import InstanceLocks
from amphora.core.changes.operations import Operations
from amphora.core.changes.recovery import Recovery
from amphora.core.drift.drift import DriftSettings
from amphora.core.network.interface_rules import InterfaceRules
from amphora.core.network.plug import Plug
from amphora.core.node import Node
from amphora.core.sampler import Sampler, take_sample
from amphora.core.services import CoreServices
from amphora.core.topology import TopologyKind, TopologyManager
from amphora.core.workloads.catalog import ServedObjects
from amphora.core.workloads.certificates import Certificates
from amphora.core.workloads.haproxy import EngineSettings, HaproxyEngine
from amphora.core.workloads.haproxy_files import InstanceDirectory
from amphora.core.workloads.haproxy_processes import ProcessReader
from amphora.core.workloads.haproxy_status import StatusReader
from amphora.core.workloads.vrrp_files import VrrpLayout
from amphora.core.workloads.workload import Instances
from amphora.drivers.cert_store.tmpfs import TmpfsCertStore
from amphora.drivers.package_manager.dpkg import DpkgPackageManager
from amphora.errors import ConfigurationError, InvalidConfiguration, InvalidInput
from amphora.haproxy.capabilities import read_capabilities
from amphora.haproxy.overlay import OverlaySettings
from amphora.haproxy.program import HaproxyProgram
from amphora.haproxy.proof.prove import Evidence
from amphora.models import Done, Outcome, Role
from amphora.system import files
from amphora.system.command import CommandRunner
from amphora.testing.fake_network import FakeNetwork
from amphora.testing.fake_process_manager import FakeProcessManager
from tests.support.lvs import LvsRig

AMPHORA_ID = "6e2bc8a0-2548-4fb7-a5f0-fb1ef4a696ce"


class FakeProgram(HaproxyProgram):
    """Refuses configurations that hold the word BAD_LINE, as haproxy would."""

    def __init__(self):
        super().__init__(Path("/usr/sbin/haproxy"), CommandRunner())
        self.peers_checked = []

    def version(self):
        return self.refresh()

    def refresh(self):
        return read_capabilities("HAProxy version 2.6.12-1 x\nFeature list : +SYSTEMD\n")

    def check(self, files: Sequence[Path], local_peer="", **_kwargs):
        self.peers_checked.append(local_peer)
        for number, line in enumerate(files[-1].read_text().splitlines(), 1):
            if "BAD_LINE" in line:
                raise InvalidConfiguration(
                    f"[ALERT] parsing [haproxy.cfg:{number}]: unknown keyword 'BAD_LINE'"
                )
        return "Configuration file is valid"


class FakeEngine(HaproxyEngine):
    """Does every step on files and on the process manager, and proves nothing.

    ``fail_at`` maps the name of a step to errors it raises, one for each call, after calling
    ``before_failure``; ``steps`` notes the steps in order.
    """

    def __init__(self, services, namespace="", overlay=None, group_file=None):
        self.program = FakeProgram()
        super().__init__(
            self.program,
            services,
            CommandRunner(),
            EngineSettings(namespace, 5.0, overlay or OverlaySettings(Path()), group_file),
        )
        self.fail_at = {}
        self.steps = []
        self.before_failure = lambda: None

    def _step(self, name):
        self.steps.append(name)
        if self.fail_at.get(name):
            self.before_failure()
            raise self.fail_at[name].pop(0)

    def stage(self, layout, data):
        self._step("stage")
        return super().stage(layout, data)

    def findings(self, layout, configuration, local_peer):
        self._step("preflight")
        return ()

    def before_reload(self, layout, configuration, patience=0.0):
        return None

    def swap(self, layout):
        self._step("swap")
        super().swap(layout)

    def restore_files(self, layout):
        self._step("restore_files")
        return super().restore_files(layout)

    def act_start(self, layout):
        self._services.install(self._spec(layout))
        self._services.start(layout.service_name)
        self._step("start")

    def act_reload(self, layout, before):
        self._services.reload(layout.service_name)
        self._step("reload")

    def prove_start(self, layout, configuration):
        return self._evidence(layout)

    def prove_reload(self, layout, configuration, before):
        return self._evidence(layout)

    def _evidence(self, layout):
        return Evidence(self.status(layout).pid, 2, 1, (), 0.01)


class FakeVrrp:
    """Notes what is asked of keepalived; may be told to fail or to wait."""

    def __init__(self):
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

    def start(self):
        self._called("start")
        return Outcome(Done.STARTED, "keepalived started (pid 1)")

    def stop(self):
        self._called("stop")
        return Outcome(Done.STOPPED, "keepalived stopped (pid 1)")

    def reload(self):
        self._called("reload")
        return Outcome(Done.RELOADED, "keepalived reloaded (pid 1)")

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
        self.cert_store = TmpfsCertStore(base_path / "certs")
        self.engine = FakeEngine(
            self.processes,
            overlay=OverlaySettings(Path(), group="daemon"),
            group_file=base_path / "haproxy-default-user-group.conf",
        )
        self.vrrp = FakeVrrp()
        self.network = FakeNetwork()
        self.told = []
        self.rescans = 0
        self.agent_certificate = base_path / "agent.pem"
        self.configuration = FakeConfiguration(base_path / "amphora-agent.conf")
        self.directory = InstanceDirectory(base_path)
        files.ensure_directory(base_path)
        locks = InstanceLocks(patience=10.0)
        self.operations = operations = Operations(Journal(base_path / "operations"))
        sampler = Sampler(lambda: take_sample(""))
        self.topology = TopologyManager(
            base_path / "topology.json", TopologyKind.SINGLE, self.vrrp, operations, time_limit=10.0
        )
        self.nftables = FakeNftables()
        rules = InterfaceRules(base_path, self.nftables, locks, lambda: None, operations)
        plug = self._plug(locks, rules)
        self.instances = Instances(
            self.directory, self.engine, operations, self.cert_store, locks, plug.announce
        )
        self.lvs = LvsRig(base_path, self.processes, operations, locks)
        self.services = CoreServices(
            instances=self.instances,
            status=StatusReader(self.directory, self.engine),
            processes=ProcessReader(self.directory, self.engine.status),
            lvs=self.lvs.listeners,
            lvs_status=self.lvs.status,
            objects=ServedObjects(self.directory, self.instances, self.lvs.listeners),
            certificates=Certificates(self.cert_store, self.instances, locks, operations),
            node=Node(AMPHORA_ID, FakeProgram(), self.directory, sampler, DpkgPackageManager(), Recovery()),
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
            drift=self._drift(base_path, locks, plug, rules),
            idempotency_store=IdempotencyStore(base_path / "answers"),
        )

    def _plug(self, locks, rules):
        return Plug(
            self.network,
            locks,
            self.operations,
            vip_is_ours=lambda: self.topology.current().kind is not TopologyKind.ACTIVE_STANDBY,
            advertise=lambda address, interface, _mac: self.told.append((str(address), interface)),
            guard=rules.protect,
            look_for_links=self._look_for_links,
        )

    def _drift(self, base_path, locks, plug, rules):
        sources = DriftSources(
            directory=self.directory,
            vrrp_layout=VrrpLayout(base_path),
            lvs_directory=self.lvs.directory,
            process_manager=self.processes,
            network=self.network,
            cert_store=self.cert_store,
            engine=self.engine,
            locks=locks,
            operations=self.operations,
            instances=self.instances,
            lvs=self.lvs.listeners,
            plug=plug,
            rules=rules,
            vrrp=self.vrrp,
            topology=self.topology,
        )
        return make_drift(DriftSettings(), sources)

    def siblings(self):
        """What is beside the base path; directories of tests that run meanwhile are left out."""
        return sorted(path for path in self.base_path.parent.iterdir() if not path.name.startswith("amp-"))

    def pair_up(self):
        """Make this amphora one of a pair, as its controller configures it."""
        self.topology.default = TopologyKind.ACTIVE_STANDBY

    def _look_for_links(self):
        self.rescans += 1
