# SPDX-License-Identifier: Apache-2.0
"""What counts as proof that an LVS listener runs; real processes stand in for keepalived."""

import threading
from pathlib import Path

import pytest

from amphora.core.network.data_namespace import DataNamespace
from amphora.core.workloads.lvs import LvsEngine, LvsSettings
from amphora.core.workloads.lvs_files import LvsDirectory
from amphora.errors import ProofFailed
from amphora.lvs.configuration import parse
from amphora.system.command import CommandRunner
from amphora.testing.fake_process_manager import FakeProcessManager
from tests.support.lvs import EMPTY, LISTENER, FakeLvsProgram, StandIn, with_members

WITHOUT_MEMBERS = parse(with_members())
WITHOUT_POOL = parse(EMPTY)


class Bench:
    """One listener whose service the process manager takes to run."""

    def __init__(self, base_path):
        self.services = FakeProcessManager()
        self.layout = LvsDirectory(base_path).layout(LISTENER)
        self.stand_ins = []

    def started(self, time_limit):
        engine = LvsEngine(
            FakeLvsProgram(), self.services, DataNamespace("", CommandRunner()), LvsSettings(time_limit)
        )
        engine.stage(self.layout, EMPTY)
        engine.swap(self.layout)
        engine.start(self.layout)
        return engine

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
    engine = bench.started(30.0)
    bench.stand_in(checker=checker)
    evidence = engine.prove(bench.layout, configuration)
    assert evidence.main_pid == bench.layout.processes.main().pid
    assert (evidence.checker_pid is not None) is checker
    assert evidence.services == len(configuration.services)


def test_a_process_is_missing(bench):
    engine = bench.started(1.0)
    with pytest.raises(ProofFailed, match="could not be seen to run in time"):
        engine.prove(bench.layout, WITHOUT_POOL)
    bench.stand_in(checker=False)
    with pytest.raises(ProofFailed, match="could not be seen to run in time"):
        engine.prove(bench.layout, WITHOUT_MEMBERS)


def test_with_members_the_kernel_must_have_ipvs(bench):
    assert not Path("/proc/net/ip_vs").exists(), "this kernel has IPVS"
    engine = bench.started(1.0)
    bench.stand_in()
    with pytest.raises(ProofFailed, match="to have found IPVS"):
        engine.prove(bench.layout, parse(with_members(1)))


def test_one_that_ends_is_not_waited_for_though_it_is_started_again_at_once(bench):
    engine = bench.started(300.0)
    failures = []

    def prove():
        try:
            engine.prove(bench.layout, WITHOUT_POOL)
        except ProofFailed as error:
            failures.append(error.details)

    thread = threading.Thread(target=prove)
    thread.start()
    while thread.is_alive():
        # Again and again, since the thread may not have looked for the first time yet.
        bench.services.crash(bench.layout.service_name, "exited with status 1")
        thread.join(0.1)
    assert failures == ["keepalived has ended: exited with status 1"]
