# SPDX-License-Identifier: Apache-2.0
import pytest

from amphora.core.workloads.haproxy_files import HaproxyDirectory
from amphora.core.workloads.metrics_service import MetricsService
from amphora.errors import ServiceError
from amphora.models import ServiceState
from amphora.testing.fake_process_manager import FakeProcessManager
from tests.support.load_balancers import LISTENER, LOAD_BALANCER, backend, internal_metrics

PLAIN = backend(LISTENER, 8080)


class Node:
    """One load balancer, as it is stored."""

    def __init__(self, base_path):
        self.directory = HaproxyDirectory(base_path)
        self.layout = self.directory.files(LOAD_BALANCER)
        self.layout.directory.mkdir()
        self.processes = FakeProcessManager()
        self.runs = True
        self.service = MetricsService(self.processes, self.directory, lambda _: self.runs, "", ("/bin/true",))

    def state_with(self, configuration):
        self.layout.running.write_text(configuration)
        self.service.refresh()
        return self.processes.status("prometheus-proxy").state


@pytest.fixture
def node(memory_dir):
    return Node(memory_dir)


def test_it_runs_exactly_while_it_is_needed(node):
    for configuration, expected in (
        (PLAIN, ServiceState.ABSENT),
        (PLAIN + internal_metrics(), ServiceState.RUNNING),
        (internal_metrics(), ServiceState.RUNNING),
        (PLAIN + internal_metrics(metrics_proxy=91021), ServiceState.ABSENT),
    ):
        for _ in range(2):
            assert node.state_with(configuration) is expected


def test_a_stopped_load_balancer_needs_none(node):
    node.runs = False
    assert node.state_with(internal_metrics()) is ServiceState.ABSENT


def test_load_balancing_goes_on_without_metrics(node, caplog):
    def refuse(_spec):
        raise ServiceError("no space left on device")

    node.processes.install = refuse
    assert node.state_with(internal_metrics()) is ServiceState.ABSENT
    assert "no space left" in caplog.text
