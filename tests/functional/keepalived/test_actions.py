# SPDX-License-Identifier: Apache-2.0
"""Upload, start, stop and reload against a real keepalived, and what is left after failures."""

from ipaddress import ip_interface

import pytest

from amphora.errors import InvalidConfiguration, VrrpActionFailed, VrrpNotConfigured
from amphora.keepalived.rendering import PairMember, render
from amphora.models import Role, ServiceState
from amphora.system.addresses import addresses_in
from tests.support.vrrp_pair import INTERFACE, configuration, eventually, ip


@pytest.fixture
def node(new_pair):
    return new_pair.nodes[0]


@pytest.fixture
def master(node, vips):
    node.vrrp.upload(configuration(vips, 100))
    node.vrrp.start()
    eventually(lambda: node.vrrp.role() is Role.ACTIVE, "alone it is master")
    eventually(lambda: node.holds(vips) == set(vips), "it holds the VIPs")
    return node


def test_nothing_runs_before_an_upload(node):
    with pytest.raises(VrrpNotConfigured):
        node.vrrp.start()
    assert node.vrrp.role() is Role.UNKNOWN
    assert str(node.vrrp.stop()) == "already stopped"


DAMAGES = {
    "Unknown keyword 'prioritty'": (b"priority", b"prioritty"),
    "outside range": (b"router_id 51", b"router_id 300"),
    "interface eth7 for vrrp_instance pair doesn't exist": (b"interface eth1", b"interface eth7"),
    "missing '}'s": (b"\n}\n", b"\n"),
    "no vrrp_instance": (b"vrrp_instance pair", b"global_defs"),
}


def test_a_bad_configuration_touches_nothing(master, vips):
    good, process = master.vrrp.configuration(), master.processes.vrrp()
    for words, damage in DAMAGES.items():
        with pytest.raises(InvalidConfiguration) as refusal:
            master.vrrp.upload(good.replace(*damage))
        assert words in refusal.value.details
        assert str(master.layout.directory) not in refusal.value.details
        assert master.vrrp.configuration() == good
        assert not master.layout.staged.exists()
    assert master.processes.vrrp() == process
    assert master.holds(vips) == set(vips)


def test_an_upload_alone_changes_nothing_that_runs(master, vips):
    changed = configuration(vips, 50)
    master.vrrp.upload(changed)
    assert master.vrrp.configuration() == changed
    assert master.layout.running.read_bytes() != changed


def test_a_reload_takes_up_an_address_and_keeps_the_process(master, vips):
    more = "198.51.100.101" if socket_version(vips[0]) == 4 else "2001:db8::101"
    process = master.processes.main()
    master.vrrp.upload(configuration((*vips, more), 100))
    assert str(master.vrrp.reload()) == f"reloaded (pid {process.pid})"
    assert master.holds((*vips, more)) == {*vips, more}, "a reload that is proven has taken effect"
    assert str(master.vrrp.start()) == f"reloaded (pid {process.pid})"


def test_a_reload_of_what_has_become_invalid_touches_no_process(master, vips):
    good, process = master.vrrp.configuration(), master.processes.vrrp()
    ip("-n", master.namespace, "link", "add", "amp-x0", "type", "bridge")
    try:
        master.vrrp.upload(good.replace(b"interface eth1", b"interface amp-x0"))
    finally:
        ip("-n", master.namespace, "link", "del", "amp-x0")
    with pytest.raises(VrrpActionFailed, match=r"(?s)amp-x0.*No process was touched") as failure:
        master.vrrp.reload()
    assert failure.value.action == "reload"
    assert master.vrrp.configuration() == good, "the last proven one is stored again"
    assert master.processes.vrrp() == process
    assert master.holds(vips) == set(vips)


def test_keepalived_that_dies_over_files_changed_under_it_is_started_from_the_proven_ones(master, vips):
    """The check can be right and the reload wrong: the interface goes between the two."""
    proven = master.layout.proven.read_bytes()
    master.vrrp.upload(proven.replace(b"priority 100", b"priority 101"))
    swap = master.vrrp.swap

    def swap_and_spoil():
        generation = swap()
        data = master.layout.running.read_bytes()
        master.layout.running.write_bytes(data.replace(b"interface eth1", b"interface eth7"))
        return generation

    master.vrrp.swap = swap_and_spoil
    pid = master.processes.main().pid
    with pytest.raises(VrrpActionFailed, match=r"(?s)ended because of the configuration.*was started again"):
        master.vrrp.reload()
    assert master.processes.main().pid != pid
    assert master.layout.running.read_bytes() == proven
    eventually(lambda: master.holds(vips) == set(vips), "the former configuration works")


def test_a_dead_keepalived_is_told_at_stop_once(master):
    pid = master.processes.main().pid
    master.services.close()
    master.kill()
    eventually(lambda: master.services.status("octavia-keepalived").pid is None, "it is dead")
    master.end_agent()
    master.layout.pid_file.write_text(f"{pid}\n")
    master.services = master._manager()
    master.vrrp._services = master.services
    with pytest.raises(VrrpActionFailed, match=rf"keepalived process with PID {pid} not found"):
        master.vrrp.stop()
    assert str(master.vrrp.stop()) == "already stopped"


def test_a_new_agent_knows_the_role_at_once(master, vips):
    master.end_agent()
    master.boot()
    master.vrrp.recover()
    assert master.vrrp.role() is Role.ACTIVE
    master.end_agent()
    master.layout.states.unlink()
    master.boot()
    master.vrrp.recover()
    assert master.vrrp.role() is Role.ACTIVE, "it can be seen from the addresses, too"


def test_what_changed_while_no_agent_ran_is_known_at_once(new_pair):
    first, second = new_pair.start().nodes
    second.end_agent()
    first.vrrp.stop()
    eventually(lambda: second.holds(new_pair.vips), "the second takes over")
    second.boot()
    second.vrrp.recover()
    assert second.vrrp.role() is Role.ACTIVE


def test_orphans_of_a_time_without_agent_are_removed(master, vips):
    master.end_agent()
    master.kill()
    assert master.holds(vips) == set(vips)
    master.boot()
    master.vrrp.recover()
    eventually(lambda: master.vrrp.role() is Role.ACTIVE, "keepalived was started again", 10.0)


def test_a_vip_that_the_interface_holds_after_a_stop_is_left_alone(master, vips):
    master.vrrp.stop()
    for vip in vips:
        ip("-n", master.namespace, "addr", "add", vip, "dev", INTERFACE)
    master.end_agent()
    master.boot()
    master.vrrp.recover()
    assert master.holds(vips) == set(vips)


def test_a_pid_file_of_somebody_else_does_not_keep_keepalived_from_starting(node, vips):
    node.vrrp.upload(configuration(vips, 100))
    for path in (node.layout.pid_file, node.layout.vrrp_pid_file):
        path.write_text("1\n")
    assert str(node.vrrp.start()).startswith("started")


def test_the_rendered_configuration_moves_the_vips_with_their_routes(new_pair, vips):
    first, second = new_pair.nodes
    subnets = {4: "/24", 6: "/64"}
    addresses = tuple(ip_interface(vip + subnets[socket_version(vip)]) for vip in vips)
    for node, role in ((first, Role.ACTIVE), (second, Role.STANDBY)):
        member = PairMember(INTERFACE, addresses, role, "a secret", advert_interval=0.1)
        node.vrrp.set_default(render(member))
        node.vrrp.start()
    new_pair.wait_for_roles(first)
    new_pair.client.wait_for(vips, first.namespace, 1.0)
    first.kill()
    new_pair.client.wait_for(vips, second.namespace, 2.0)
    new_pair.wait_for_roles(second)
    second.kill()
    new_pair.client.wait_for(vips, first.namespace, 2.0)
    assert first.services.status("octavia-keepalived").state is ServiceState.RUNNING
    held = {each.address.ip: each.address.network.prefixlen for each in addresses_in(first.namespace)}
    assert all(held[address.ip] == address.max_prefixlen for address in addresses)


def socket_version(vip):
    return ip_interface(vip).version
