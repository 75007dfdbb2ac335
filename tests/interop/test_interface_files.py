# SPDX-License-Identifier: Apache-2.0
"""Octavia's own program for interfaces takes the files that we store."""

import json
import subprocess

import pytest

from amphora.core.network.interface_plan import member_interface, vip_interface
from amphora.core.network.plug_requests import parse_network_request, parse_vip_request
from amphora.drivers.network.pyroute2 import Pyroute2Network
from amphora.system.command import CommandRunner
from tests.interop.environments import interpreter
from tests.support.load_balancers import MEMBER_PORT, VIP

_READ = """
import json, sys
from octavia.amphorae.backends.utils import interface_file
files = [interface_file.InterfaceFile.from_file(path) for path in sys.argv[1:]]
print(json.dumps([[each.name, each.if_type, each.mtu, len(each.addresses)] for each in files]))
"""


@pytest.mark.parametrize("release", ["newest", "legacy"])
def test_what_we_store_is_read_by_octavia(release, tmp_path):
    driver = Pyroute2Network(tmp_path, "", CommandRunner(), plugged=tmp_path / "plugged_interfaces")
    vip = vip_interface("eth1", parse_vip_request("203.0.113.2", VIP | {"mtu": 1400}))
    member = member_interface("eth2", parse_network_request(MEMBER_PORT))
    for config in (vip, member):
        driver.persist(config)
    argv = [str(interpreter(release)), "-W", "ignore", "-c", _READ]
    paths = [str(tmp_path / name) for name in ("eth1.json", "eth2.json")]
    done = subprocess.run([*argv, *paths], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [
        ["eth1", "vip", 1400, len(vip.addresses)],
        ["eth2", "backend", member.mtu, len(member.addresses)],
    ]
