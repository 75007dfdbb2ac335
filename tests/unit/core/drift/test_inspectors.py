# SPDX-License-Identifier: Apache-2.0
"""Each kind of drift as far as it can be told without a kernel and without haproxy."""

import os
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from types import SimpleNamespace

import pytest

from amphora.core.changes.locks import INTERFACES, KEEPALIVED
from amphora.core.drift.configs import ConfigInspector
from amphora.core.drift.configurations import Configurations
from amphora.core.drift.file_baseline import FileBaseline
from amphora.core.drift.network import InterfaceInspector
from amphora.core.drift.services import ServiceInspector
from amphora.core.drift.vip import VipInspector
from amphora.core.topology import TopologyKind
from amphora.core.workloads.vrrp_files import VrrpFiles
from amphora.keepalived.overlay import with_known_words
from amphora.models import (
    DriftReason,
    InterfaceConfig,
    InterfaceRole,
    RestartPolicy,
    Role,
    RoutingRule,
    ServiceSpec,
    ServiceState,
    ServiceStatus,
)
from amphora.system import files
from amphora.system.processes import command_line
from amphora.testing.fake_network import FakeNetwork
from amphora.testing.fake_process_manager import FakeProcessManager

MAC = "fa:16:3e:00:00:01"
#: Loopback's own address stands for a VIP that this machine holds, and one of documentation's for any other.
HELD, ELSEWHERE = "127.0.0.1", "192.0.2.77"


def reasons(differences):
    return [each.reason for each in differences]


class TestInterfaces:
    CONFIG = InterfaceConfig("eth1", MAC, addresses=(ip_interface("192.0.2.4/24"),))

    @pytest.fixture
    def network(self):
        network = FakeNetwork()
        network.persist(self.CONFIG)
        return network

    @pytest.fixture
    def inspector(self, network):
        return InterfaceInspector(network, network.restore)

    def test_link_that_is_not_attached_is_told_and_cannot_be_healed(self, inspector, network):
        found = inspector.inspect(INTERFACES)
        assert reasons(found) == [DriftReason.LINK_MISSING]
        assert inspector.heal(INTERFACES, found) == ""
        assert ("activate", "eth1") not in network.wires.calls

    def test_link_that_came_back_is_activated(self, inspector, network):
        network.wires.plug(MAC)
        found = inspector.inspect(INTERFACES)
        assert reasons(found) == [DriftReason.LINK_ELSEWHERE]
        assert inspector.heal(INTERFACES, found)
        assert inspector.inspect(INTERFACES) == []

    def test_missing_address_is_told(self, inspector, network):
        network.wires.active["eth1"] = replace(self.CONFIG, addresses=())
        (found,) = inspector.inspect(INTERFACES)
        assert (found.reason, found.desired) == (DriftReason.ADDRESS_MISSING, "192.0.2.4/24")


class Served:
    """A workload as far as its service goes."""

    id = "id"

    def __init__(self, processes, pid_file, argument):
        self._processes = processes
        self.files = SimpleNamespace(service_name="one", pid_file=pid_file, argument=argument)

    def status(self):
        return self._processes.status("one")

    def start(self):
        self._processes.start("one")
        return "started"


class TestServices:
    @pytest.fixture
    def processes(self):
        processes = FakeProcessManager()
        self.install(processes, RestartPolicy(on_crash=False))
        return processes

    def install(self, processes, policy):
        processes.install(ServiceSpec("one", "one", ("/bin/true",), restart=policy))

    @pytest.fixture
    def inspector(self, processes, tmp_path):
        self.pending = False
        workload = Served(processes, tmp_path / "pid", Path("/no/such/argument"))
        return ServiceInspector(lambda: [workload], lambda _workload: self.pending)

    def test_what_runs_and_what_is_stopped_is_as_wanted(self, inspector, processes):
        assert inspector.inspect("id") == []
        processes.start("one")
        assert inspector.inspect("id") == []
        assert inspector.targets() == ["id"]

    def test_what_crashed_is_told_and_started(self, inspector, processes):
        processes.start("one")
        processes.crash("one")
        found = inspector.inspect("id")
        assert reasons(found) == [DriftReason.SERVICE_FAILED]
        assert "SIGKILL" in found[0].found
        assert inspector.heal("id", found) == "started"
        assert inspector.inspect("id") == []

    def test_what_restarts_by_itself_is_left_alone(self, inspector, processes):
        self.install(processes, RestartPolicy(delay=30.0))
        processes.start("one")
        processes.crash("one")
        found = inspector.inspect("id")
        assert reasons(found) == [DriftReason.SERVICE_RESTARTING]
        assert inspector.heal("id", found) == ""

    def test_nothing_is_started_that_would_take_up_a_pending_upload(self, inspector, processes):
        processes.start("one")
        processes.crash("one")
        self.pending = True
        assert inspector.heal("id", inspector.inspect("id")) == ""

    def test_process_that_nobody_manages_is_told(self, processes, tmp_path):
        (tmp_path / "pid").write_text(f"{os.getpid()}\n")
        workload = Served(processes, tmp_path / "pid", Path(command_line(os.getpid())[0]))
        found = ServiceInspector(lambda: [workload], lambda _workload: False).inspect("id")
        assert reasons(found) == [DriftReason.SERVICE_UNMANAGED]


class Topology:
    def __init__(self, kind):
        self.kind, self.changing = kind, False

    def current(self):
        return self

    def is_changing(self):
        return self.changing


class Vrrp:
    id = KEEPALIVED
    is_compared_at_rest = False

    def __init__(self, own_files):
        self.files, self.actual, self.reloads = own_files, Role.UNKNOWN, 0
        self.state = ServiceState.RUNNING
        self.as_run = lambda data: data

    def role(self):
        return self.actual

    def status(self):
        return ServiceStatus(self.state)

    def are_same(self, one, other):
        return one == other

    def stored_configuration(self):
        return files.read_if_present(self.files.stored)

    def upload(self, data):
        files.write_atomically(self.files.stored, data)

    def store_again(self, data):
        self.upload(data)

    def reload(self):
        self.reloads += 1
        for path in (self.files.running, self.files.proven):
            files.write_atomically(path, self.stored_configuration())
        return "reloaded"


def keepalived(vip):
    return f"vrrp_instance a {{\n interface lo\n virtual_ipaddress {{\n {vip}\n }}\n}}\n".encode()


class Pair:
    """An inspector of VIPs, on files and on this machine's own addresses."""

    def __init__(self, directory, kind):
        self.layout = VrrpFiles(directory)
        files.ensure_directory(self.layout.directory)
        self.vrrp, self.network = Vrrp(self.layout), FakeNetwork()
        self.topology, self.activations = Topology(kind), 0
        self.inspector = VipInspector(self.topology, self.network, self.vrrp, "", self._activate)

    def _activate(self):
        self.activations += 1

    def run(self, vip, role):
        self.vrrp.actual = role
        self.vrrp.upload(keepalived(vip))
        self.vrrp.reload()

    def look(self):
        return [found for target in self.inspector.targets() for found in self.inspector.inspect(target)]


@pytest.fixture
def pair(tmp_path):
    return Pair(tmp_path, TopologyKind.ACTIVE_STANDBY)


@pytest.fixture
def single(tmp_path):
    single = Pair(tmp_path, TopologyKind.SINGLE)
    single.plug = lambda name, vip: single.network.persist(
        InterfaceConfig(name, MAC, InterfaceRole.VIP, rules=(RoutingRule(ip_network(ip_address(vip)), 1),))
    )
    return single


class TestVip:
    @pytest.mark.parametrize(
        ("name", "vip", "wanted"),
        [
            ("lo", HELD, []),
            ("lo", ELSEWHERE, [DriftReason.VIP_MISSING]),
            ("eth1", HELD, [DriftReason.VIP_ELSEWHERE]),
        ],
    )
    def test_single_amphora_holds_its_vip_on_its_port(self, single, name, vip, wanted):
        single.plug(name, vip)
        found = single.look()
        assert reasons(found) == wanted
        if found:
            assert single.inspector.heal(INTERFACES, found)
            assert single.activations == 1

    @pytest.mark.parametrize(
        ("role", "vip", "wanted"),
        [
            (Role.ACTIVE, HELD, []),
            (Role.ACTIVE, ELSEWHERE, [DriftReason.VIP_MISSING]),
            (Role.STANDBY, ELSEWHERE, []),
            (Role.UNKNOWN, HELD, []),
        ],
    )
    def test_keepalived_decides_in_a_pair(self, pair, role, vip, wanted):
        pair.run(vip, role)
        assert reasons(pair.look()) == wanted

    def test_while_the_topology_changes_nothing_is_told(self, pair):
        pair.run(ELSEWHERE, Role.ACTIVE)
        pair.topology.changing = True
        assert pair.look() == []

    def test_missing_vip_of_the_active_node_is_asked_of_keepalived(self, pair):
        pair.run(ELSEWHERE, Role.ACTIVE)
        before = pair.vrrp.reloads
        assert pair.inspector.heal(KEEPALIVED, pair.look()) == "reloaded"
        assert pair.vrrp.reloads == before + 1

    def test_keepalived_is_not_reloaded_over_a_pending_upload(self, pair):
        pair.run(ELSEWHERE, Role.ACTIVE)
        found, before = pair.look(), pair.vrrp.reloads
        pair.vrrp.upload(keepalived("192.0.2.78"))
        assert pair.inspector.heal(KEEPALIVED, found) == ""
        assert pair.vrrp.reloads == before


class TestKeepalived:
    @pytest.fixture
    def baseline(self, pair):
        baseline = FileBaseline(lambda _name: (pair.layout.directory,))
        pair.run(HELD, Role.ACTIVE)
        baseline.note_if_new(KEEPALIVED)
        return baseline

    @pytest.fixture
    def inspector(self, pair, baseline):
        return ConfigInspector(lambda: [pair.vrrp], Configurations(baseline))

    def test_an_upload_is_pending_and_an_edit_is_drift(self, inspector, pair, baseline):
        assert inspector.inspect(KEEPALIVED) == []
        baseline.begins(KEEPALIVED)
        pair.vrrp.upload(keepalived(ELSEWHERE))
        baseline.ends(KEEPALIVED)
        assert reasons(inspector.inspect(KEEPALIVED)) == [DriftReason.PENDING_RELOAD]
        pair.layout.stored.write_bytes(b"! by hand\n")
        found = inspector.inspect(KEEPALIVED)
        assert reasons(found) == [DriftReason.STORED_EDITED]
        assert inspector.heal(KEEPALIVED, found)
        assert pair.vrrp.stored_configuration() == keepalived(HELD)

    def test_edited_running_configuration_is_reloaded(self, inspector, pair):
        pair.layout.running.write_bytes(b"! by hand\n")
        found = inspector.inspect(KEEPALIVED)
        assert reasons(found) == [DriftReason.RUNNING_EDITED]
        inspector.heal(KEEPALIVED, found)
        assert inspector.inspect(KEEPALIVED) == []

    def test_what_runs_in_words_that_keepalived_knows_is_no_drift(self, pair, baseline):
        route = b" virtual_routes {\n  10.9.0.0/24 gateway 10.0.0.1\n }\n}\n"
        uploaded = keepalived(HELD)[:-2] + route
        layout = pair.layout
        baseline.begins(KEEPALIVED)
        for path in (layout.stored, layout.proven):
            path.write_bytes(uploaded)
        layout.running.write_bytes(uploaded.replace(b"gateway", b"via"))
        baseline.ends(KEEPALIVED)
        pair.vrrp.as_run = with_known_words
        inspector = ConfigInspector(lambda: [pair.vrrp], Configurations(baseline))
        assert inspector.inspect(KEEPALIVED) == []
        layout.stored.write_bytes(b"! by hand\n")
        assert inspector.heal(KEEPALIVED, inspector.inspect(KEEPALIVED))
        assert layout.stored.read_bytes() == uploaded

    def test_removed_proven_configuration_is_told_and_there_again_after_a_reload(
        self, inspector, pair, baseline
    ):
        pair.layout.proven.unlink()
        found = inspector.inspect(KEEPALIVED)
        assert reasons(found) == [DriftReason.PROVEN_EDITED]
        baseline.begins(KEEPALIVED)
        assert inspector.heal(KEEPALIVED, found)
        baseline.ends(KEEPALIVED)
        assert inspector.inspect(KEEPALIVED) == []

    def test_what_was_removed_is_stored_again(self, inspector, pair):
        pair.layout.stored.unlink()
        found = inspector.inspect(KEEPALIVED)
        assert reasons(found) == [DriftReason.STORED_MISSING]
        before = pair.vrrp.reloads
        assert inspector.heal(KEEPALIVED, found)
        assert (inspector.inspect(KEEPALIVED), pair.vrrp.reloads) == ([], before)

    def test_stopped_keepalived_waits_for_its_start(self, inspector, pair, baseline):
        pair.vrrp.state = ServiceState.STOPPED
        baseline.begins(KEEPALIVED)
        pair.vrrp.upload(keepalived(ELSEWHERE))
        baseline.ends(KEEPALIVED)
        assert reasons(inspector.inspect(KEEPALIVED)) == [DriftReason.PENDING_START]
