# SPDX-License-Identifier: Apache-2.0
"""keepalived's own check, from within the namespace, on what controllers send and on what we render."""

from ipaddress import ip_address, ip_interface
from pathlib import Path

import pytest

from amphora.errors import InvalidConfiguration
from amphora.keepalived.program import KeepalivedProgram
from amphora.keepalived.rendering import PairMember, render
from amphora.models import Role
from amphora.system.command import CommandRunner
from tests.support.vrrp_pair import COMMAND, INTERFACE, configuration

#: In the shape of Octavia's: a script without script security, and MASTER with nopreempt.
OF_A_CONTROLLER = """\
vrrp_script check_script {{
  script {script}
  interval 5
  fall 2
  rise 2
}}
vrrp_instance 1b000000000040008000000000000001 {{
  state MASTER
  interface eth1
  virtual_router_id 1
  priority 100
  nopreempt
  accept
  garp_master_refresh 5
  garp_master_refresh_repeat 2
  advert_int 1
  authentication {{
    auth_type PASS
    auth_pass 0123abc
  }}
  virtual_ipaddress {{
    {vip}
  }}
  track_script {{
    check_script
  }}
}}
"""


@pytest.fixture
def check(network, short_dir):
    program = KeepalivedProgram(COMMAND, CommandRunner())
    file = short_dir / "keepalived.conf"

    def check(data, namespace=network.nodes[0].namespace):
        file.write_bytes(data)
        return program.check(file, namespace=namespace, names={str(file): "uploaded.conf"})

    return check


def test_what_controllers_send_is_accepted(check, vips):
    words = check(OF_A_CONTROLLER.format(vip=vips[0], script=Path("/bin/true").resolve()).encode())
    assert "SECURITY VIOLATION" in words
    assert "Disabling" not in words


def test_a_script_that_keepalived_would_not_run_is_refused(check, vips, short_dir):
    script = short_dir / "check.sh"
    script.write_text("#!/bin/sh\n")
    secured = "global_defs {\n  enable_script_security\n  script_user root\n}\n"
    data = (secured + OF_A_CONTROLLER.format(vip=vips[0], script=script)).replace("MASTER", "BACKUP")
    script.chmod(0o755)
    check(data.encode())
    script.chmod(0o777)
    with pytest.raises(InvalidConfiguration, match="(?s)due to insecure.*by its real path"):
        check(data.encode())


def test_it_must_be_checked_where_the_interface_is(check, vips, network):
    data = configuration(vips, 100)
    assert check(data) == "Configuration file is valid"
    with pytest.raises(InvalidConfiguration, match="interface eth1 .* doesn't exist"):
        check(data, network.switch)


@pytest.mark.parametrize("role", [Role.ACTIVE, Role.STANDBY])
@pytest.mark.parametrize("interval", [1.0, 0.1])
def test_what_we_render_is_accepted_without_a_remark(check, vips, role, interval):
    subnets = {4: "24", 6: "64"}
    gateways = {4: ip_address("198.51.100.1"), 6: ip_address("2001:db8::1")}
    addresses = tuple(ip_interface(f"{vip}/{subnets[ip_address(vip).version]}") for vip in vips)
    via = tuple(gateways[address.version] for address in addresses)
    member = PairMember(INTERFACE, addresses, role, "a secret # {", via, interval)
    assert check(render(member)) == "Configuration file is valid"
