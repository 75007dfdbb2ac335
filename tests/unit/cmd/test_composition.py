# SPDX-License-Identifier: Apache-2.0
"""What only the composition decides: which parts of the core follow which changes."""

from ipaddress import ip_interface

import pytest

from amphora.models import InterfaceConfig
from tests.support.core import CoreRig
from tests.support.lvs import LISTENER, with_members

ID = "04bff5c3-5862-4a13-b9e3-9b440d0ed50a"
METRICS = b"frontend metrics\n    bind 127.0.0.1:80\nbackend metrics\n    server prometheus 127.0.0.1:9102\n"


@pytest.fixture
def rig(memory_dir):
    return CoreRig(memory_dir)


def test_composing_changes_nothing(rig):
    assert list(rig.base_path.iterdir()) == []


def test_an_instance_with_a_metrics_listener_has_the_service_while_it_runs(rig):
    instance = rig.haproxy(ID)
    instance.upload(METRICS)
    instance.start()
    assert "prometheus-proxy" in rig.processes.machine.specs
    instance.stop()
    assert "prometheus-proxy" not in rig.processes.machine.specs


def test_members_of_an_lvs_listener_are_masqueraded(rig):
    eth2 = InterfaceConfig("eth2", "fa:16:3e:00:00:02", addresses=(ip_interface("10.0.0.5/24"),))
    rig.network.wires.active["eth2"] = eth2
    rig.haproxy(ID).upload(METRICS)
    rig.haproxy(ID).start()
    assert rig.nftables.loaded == [], "haproxy's members answer to its own connections"
    rig.lvs(LISTENER).upload(with_members(1))
    rig.lvs(LISTENER).start()
    assert "eth2" in "".join(rig.nftables.loaded)
