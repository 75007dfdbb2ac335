# SPDX-License-Identifier: Apache-2.0
"""What counts as proof that an LVS listener runs; real processes stand in for keepalived."""

import threading
from pathlib import Path

import pytest

from amphora.core.changes.journal import Journal
from amphora.core.changes.locks import InstanceLocks
from amphora.core.changes.operations import Operations
from amphora.core.network.data_namespace import DataNamespace
from amphora.core.workloads.lvs import LvsSettings, LvsWorkload
from amphora.core.workloads.lvs_files import LvsDirectory
from amphora.core.workloads.workload import WorkloadContext
from amphora.errors import ProofFailed
from amphora.keepalived.program import LvsProgram
from amphora.lvs.configuration import parse
from amphora.system.command import CommandRunner
from amphora.testing.fake_process_manager import FakeProcessManager
from tests.support.lvs import EMPTY, LISTENER, StandIn, with_members
from tests.support.workloads import FakeKeepalivedProgram

WITHOUT_MEMBERS = parse(with_members())
WITHOUT_POOL = parse(EMPTY)


class Bench:
    """One listener whose service the process manager takes to run."""

    def __init__(self, base_path):
        self.services = FakeProcessManager()
        self.layout = LvsDirectory(base_path).files(LISTENER)
        self.stand_ins = []

    def started(self, time_limit):
        context = WorkloadContext(
            self.services, Operations(Journal(self.layout.base_path / "operations")), InstanceLocks()
        )
        program = LvsProgram(FakeKeepalivedProgram(), "")
        namespace = DataNamespace("", CommandRunner())
        listener = LvsWorkload(self.layout, context, program, namespace, LvsSettings(time_limit))
        configuration = listener.stage(EMPTY)
        listener.stage_swap(configuration)
        listener.swap()
        listener.apply(configuration, None)
        return listener

    def stand_in(self, **options):
        self.stand_ins.append(StandIn(self.layout, **options))


@pytest.fixture
def bench(memory_dir):
    bench = Bench(memory_dir)
    yield bench
    for each in bench.stand_ins:
        each.close()


@pytest.mark.parametrize(("configuration", "checker"), [(WITHOUT_POOL, False), (WITHOUT_MEMBERS, True)])
def test_the_processes_that_a_configuration_needs(bench, configuration, checker):
    listener = bench.started(30.0)
    bench.stand_in(checker=checker)
    proof = listener.prove(configuration, None)
    assert proof.pid == bench.layout.processes.main().pid
    assert ("checks members in pid" in proof.evidence) is checker
    assert f"for {len(configuration.services)} virtual services" in proof.evidence


def test_a_process_is_missing(bench):
    listener = bench.started(1.0)
    with pytest.raises(ProofFailed, match="timed out waiting for keepalived to start"):
        listener.prove(WITHOUT_POOL, None)
    bench.stand_in(checker=False)
    with pytest.raises(ProofFailed, match="timed out waiting for keepalived to start"):
        listener.prove(WITHOUT_MEMBERS, None)


def test_with_members_the_kernel_must_have_ipvs(bench):
    assert not Path("/proc/net/ip_vs").exists(), "this kernel has IPVS"
    listener = bench.started(1.0)
    bench.stand_in()
    with pytest.raises(ProofFailed, match="register with IPVS"):
        listener.prove(parse(with_members(1)), None)


def test_one_that_ends_is_not_waited_for_though_it_is_started_again_at_once(bench):
    listener = bench.started(300.0)
    failures = []

    def prove():
        try:
            listener.prove(WITHOUT_POOL, None)
        except ProofFailed as error:
            failures.append(error.details)

    thread = threading.Thread(target=prove)
    thread.start()
    while thread.is_alive():
        # Again and again, since the thread may not have looked for the first time yet.
        bench.services.crash(bench.layout.service_name, "exited with status 1")
        thread.join(0.1)
    assert failures == ["keepalived has ended: exited with status 1"]
