# SPDX-License-Identifier: Apache-2.0
import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from amphora.drivers.base import DriverContext
from amphora.drivers.cert_store.base import CertStore
from amphora.drivers.network.base import NetworkDriver
from amphora.drivers.package_manager.base import PackageManager
from amphora.drivers.process_manager.base import ProcessManager
from amphora.errors import OperationFailed, ServiceError
from amphora.models import ServiceSpec, ServiceState
from amphora.system.command import CommandRunner
from amphora.testing.fake_cert_store import FakeCertStore
from amphora.testing.fake_network import FakeNetwork
from amphora.testing.fake_package_manager import FakePackageManager
from amphora.testing.fake_process_manager import FakeProcessManager
from amphora.testing.faults import FaultPlan, delay, fail, hang, kill, with_faults
from amphora.testing.network_bench import new_mac_address, vip_config

SPEC = ServiceSpec("web", "A service", ("/bin/web",))
REPOSITORY = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("driver", "contract"),
    [
        (FakeProcessManager(), ProcessManager),
        (FakeCertStore(Path("/nonexistent")), CertStore),
        (FakePackageManager({}), PackageManager),
        (FakeNetwork(), NetworkDriver),
    ],
    ids=["process_manager", "cert_store", "package_manager", "network"],
)
def test_drivers_of_every_family_keep_their_contract(driver, contract):
    plan = FaultPlan(fail(OperationFailed("no"), at=2))
    wrapped = with_faults(driver, plan)
    assert isinstance(wrapped, contract)
    wrapped.check_available()
    with pytest.raises(OperationFailed, match="no"):
        wrapped.check_available()
    assert plan.methods() == ["check_available", "check_available"]


def test_a_failure_before_a_step_prevents_it():
    manager = with_faults(FakeProcessManager(), FaultPlan(fail(ServiceError("no room"), at=2, of="start")))
    manager.install(SPEC)
    manager.start("web")
    manager.stop("web")
    with pytest.raises(ServiceError, match="no room"):
        manager.start("web")
    assert manager.status("web").state is ServiceState.STOPPED
    manager.start("web")
    assert manager.status("web").state is ServiceState.RUNNING


def test_a_failure_after_a_step_does_not_undo_it():
    plan = FaultPlan(fail(ServiceError("too late"), at=1, of="start", after=True))
    manager = with_faults(FakeProcessManager(), plan)
    manager.install(SPEC)
    with pytest.raises(ServiceError, match="too late"):
        manager.start("web")
    assert manager.status("web").state is ServiceState.RUNNING


def test_calls_are_counted_over_all_methods_unless_one_is_named():
    plan = FaultPlan(fail(ServiceError("third of all"), at=3))
    manager = with_faults(FakeProcessManager(), plan)
    manager.install(SPEC)
    manager.start("web")
    with pytest.raises(ServiceError, match="third of all"):
        manager.status("web")
    assert [(call.number, call.method, call.arguments) for call in plan.calls] == [
        (1, "install", (SPEC,)),
        (2, "start", ("web",)),
        (3, "status", ("web",)),
    ]


def test_a_call_hangs_until_it_is_released():
    stuck = hang(at=1, of="start", after=True)
    manager = with_faults(FakeProcessManager(), FaultPlan(stuck))
    manager.install(SPEC)
    with ThreadPoolExecutor(1) as pool:
        start = pool.submit(manager.start, "web")
        assert stuck.reached.wait(30)
        assert manager.status("web").state is ServiceState.RUNNING
        assert not start.done()
        stuck.released.set()
        start.result(timeout=30)


def test_a_delayed_call_is_carried_out():
    slow = delay(0.05, at=1, of="start")
    manager = with_faults(FakeProcessManager(), FaultPlan(slow))
    manager.install(SPEC)
    manager.start("web")
    assert slow.reached.is_set()
    assert manager.status("web").state is ServiceState.RUNNING


def test_a_plan_releases_all_that_hangs():
    plan = FaultPlan(hang(at=1), delay(3600, at=2), hang(at=3, after=True))
    manager = with_faults(FakeProcessManager(), plan)
    plan.release()
    for _ in range(3):
        manager.status("web")
    assert len(plan.calls) == 3


def test_threads_together_meet_a_fault_once():
    plan = FaultPlan(fail(ServiceError("one of many"), at=50))
    manager = with_faults(FakeProcessManager(), plan)
    together = threading.Barrier(8, timeout=30)
    failures = []

    def ask(_number):
        together.wait()
        for _ in range(25):
            try:
                manager.status("web")
            except ServiceError as error:
                failures.append(str(error))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(8)))
    assert failures == ["one of many"]
    assert [call.number for call in plan.calls] == list(range(1, 201))


def test_steps_within_a_method_of_the_contract_itself_are_counted():
    network = FakeNetwork()
    plan = FaultPlan(fail(OperationFailed("no such luck"), at=1, of="activate"))
    wrapped = with_faults(network, plan)
    config = vip_config("v4", new_mac_address())
    network.wires.plug(config.mac_address)
    network.persist(config)
    with pytest.raises(OperationFailed, match="eth1: no such luck"):
        wrapped.restore()
    assert plan.methods() == ["stored", "activate"]


def test_what_a_driver_offers_beyond_its_contract_is_reached_and_not_counted():
    fake, plan = FakeProcessManager(), FaultPlan()
    wrapped = with_faults(fake, plan)
    assert wrapped.machine is fake.machine
    wrapped.fail_next("install", ServiceError("own way"))
    with pytest.raises(ServiceError, match="own way"):
        wrapped.install(SPEC)
    assert plan.methods() == ["install"]


def test_a_driver_built_by_a_wrapped_class_has_the_same_faults():
    plan = FaultPlan(fail(ServiceError("still"), at=1, of="install"))
    context = DriverContext(Path("/s"), Path("/c"), Path("/i"), "", CommandRunner())
    another = type(with_faults(FakeProcessManager(), plan)).create(context)
    with pytest.raises(ServiceError, match="still"):
        another.install(SPEC)


def test_a_plan_for_a_method_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="no method 'strat'; there are .*start"):
        with_faults(FakeProcessManager(), FaultPlan(hang(at=1, of="strat")))


KILLED = """
import json, pathlib, sys
from amphora.testing.fake_cert_store import FakeCertStore
from amphora.testing.faults import FaultPlan, kill, with_faults

plan = FaultPlan(kill(at=2, of="put", after=json.loads(sys.argv[2])))
store = with_faults(FakeCertStore(pathlib.Path(sys.argv[1])), plan)
for name in ("a.pem", "b.pem", "c.pem"):
    store.put("one", name, b"key")
print("still alive")
"""


@pytest.mark.real_commands
@pytest.mark.parametrize(("after", "stored"), [(False, ["a.pem"]), (True, ["a.pem", "b.pem"])])
def test_a_process_is_killed_before_or_after_a_step(tmp_path, after, stored):
    argv = [sys.executable, "-c", KILLED, str(tmp_path), json.dumps(after)]
    done = subprocess.run(argv, cwd=REPOSITORY, timeout=60, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert done.stdout == b""
    assert sorted(os.listdir(tmp_path / "one")) == stored


def test_a_kill_is_planned_for_one_call_only():
    plan = FaultPlan(kill(at=100))
    with_faults(FakeProcessManager(), plan).status("web")
    assert plan.methods() == ["status"]
