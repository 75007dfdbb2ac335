# SPDX-License-Identifier: Apache-2.0
"""What plugging costs the agent, and what it does not cost one that never plugs."""

import os
import subprocess
import sys
import threading

from amphora.system.interfaces import interfaces
from amphora.system.processes import children_of
from amphora.testing.network_bench import vip_config


def resources():
    return len(os.listdir("/proc/self/fd")), threading.active_count(), len(children_of(os.getpid()))


def test_plugging_200_times_keeps_nothing(bench):
    config = vip_config("dual", bench.plug())
    bench.driver.activate(config)
    bench.driver.deactivate("eth1")
    before = resources()
    for _ in range(200):
        bench.driver.activate(config)
        bench.driver.deactivate("eth1")
    assert resources() == before


IDLE = """
import os, sys
from pathlib import Path
from amphora.drivers.base import DriverContext
from amphora.drivers.network.{module} import {name}
from amphora.system.command import CommandRunner

def refuse(event, arguments):
    if event in ("subprocess.Popen", "os.fork", "os.posix_spawn"):
        os._exit(9)

sys.addaudithook(refuse)
here = Path(sys.argv[1])
driver = {name}.create(DriverContext(here, here, here, sys.argv[2], CommandRunner()))
driver.check_available()
driver.restore()
assert any(each.name == "lo" for each in driver.interfaces())
assert not [name for name in sys.modules if name.partition(".")[0] == "pyroute2"]
"""


def test_an_agent_that_never_plugs_loads_no_netlink_library_and_forks_nothing(bench, tmp_path):
    for module, name in (("pyroute2", "Pyroute2Network"), ("ifupdown", "IfupdownNetwork")):
        argv = [sys.executable, "-c", IDLE.format(module=module, name=name), tmp_path, bench.data]
        assert subprocess.run(argv, timeout=30).returncode == 0


def test_interfaces_are_read_as_the_kernel_has_them(bench):
    config = vip_config("dual", bench.plug())
    bench.driver.activate(config)
    bench.ip("-n", bench.data, "addr", "add", "192.0.2.77/25", "dev", "eth1", "label", "eth1:x")
    found = {interface.name: interface for interface in interfaces(bench.data)}
    assert sorted(found) == ["eth1", "lo"]
    assert found["eth1"].mac_address == config.mac_address
    assert found["lo"].mac_address == ""
    shown = {f"{a['local']}/{a['prefixlen']}" for a in bench.links(bench.data)[0]["addr_info"]}
    assert {str(address) for address in found["eth1"].addresses} == shown
    assert "192.0.2.77/25" in shown


def test_a_namespace_that_is_not_there_has_no_interfaces():
    assert interfaces("amphora-none") == []
