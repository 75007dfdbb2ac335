# SPDX-License-Identifier: Apache-2.0
import pytest

from amphora.drivers.network.dhcp.clients import CLIENTS, Dhclient, Dhcpcd, Places, Udhcpc
from amphora.drivers.network.dhcp.script import DHCP_SCRIPT
from amphora.errors import OperationFailed
from amphora.models import InterfaceConfig

PORT = InterfaceConfig("eth2", "02:00:00:00:00:02", automatic=True)


@pytest.fixture
def places(tmp_path):
    return Places(tmp_path / "run", tmp_path / "dhcp", tmp_path / "udhcpc")


def test_isc_client_comes_first_as_in_images_so_far():
    assert [client.program for client in CLIENTS] == ["dhclient", "dhcpcd", "udhcpc"]


@pytest.mark.parametrize(
    ("client", "script"), [(Dhclient, "dhcp/dhclient-script"), (Udhcpc, "udhcpc/amphora.script")]
)
def test_a_script_of_another_program_is_left_alone(tmp_path, places, client, script):
    path = tmp_path / script
    path.parent.mkdir()
    path.write_text("#!/bin/sh\n")
    with pytest.raises(OperationFailed, match="was not written by amphora-agent"):
        client("tenants", "tenants", places).prepare()
    assert path.read_text() == "#!/bin/sh\n"


@pytest.mark.parametrize(
    ("client", "script"), [(Dhclient, "dhcp/dhclient-script"), (Udhcpc, "udhcpc/amphora.script")]
)
def test_a_script_of_an_older_release_is_replaced(tmp_path, places, client, script):
    path = tmp_path / script
    path.parent.mkdir()
    path.write_text("\n".join(DHCP_SCRIPT.splitlines()[:2]))
    client("tenants", "tenants", places).prepare()
    assert (path.read_text(), path.stat().st_mode & 0o777) == (DHCP_SCRIPT, 0o755)


def test_in_the_namespace_of_the_agent_dhcpcd_has_its_usual_directory(places):
    client = Dhcpcd("vm", "", places)
    assert client.command("/usr/sbin/dhcpcd", PORT).argv[0] == "/usr/sbin/dhcpcd"
    assert client.pid_files("eth2") == (places.run / "dhcpcd/eth2-4.pid",)


def test_a_client_of_another_agent_is_found(places):
    assert places.run / "dhclient-eth2.pid" in Dhclient("tenants", "tenants", places).pid_files("eth2")
