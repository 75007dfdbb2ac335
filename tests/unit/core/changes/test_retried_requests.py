# SPDX-License-Identifier: Apache-2.0
"""A request that comes again while its first try still runs waits for that one."""

import pytest

from amphora.core.network.packet_filter import parse_rules
from amphora.core.network.plug_requests import parse_network_request, parse_vip_request
from amphora.errors import InstanceNotFound, LvsListenerNotFound, ProofFailed, ServiceError
from amphora.system import files
from tests.support.joining import Gate, together
from tests.support.load_balancers import MAC, MEMBER_PORT, OTHER_MAC, VIP
from tests.support.lvs import LISTENER, with_members
from tests.unit.core.conftest import ID, NEW, OLD

CERTIFICATE = "www.example.com.pem"
RULES = parse_rules([{"protocol": "TCP", "cidr": None, "port": 80}])


@pytest.fixture
def served(rig):
    """A core with one object of each kind, all running, and ports to plug."""
    rig.operations.recover()
    rig.haproxy(ID).upload(OLD)
    rig.haproxy(ID).start()
    rig.lvs(LISTENER).upload(with_members(1))
    rig.lvs(LISTENER).start()
    rig.cert_store.put(ID, CERTIFICATE, b"any")
    rig.network.wires.plug(MAC)
    rig.network.wires.plug(OTHER_MAC)
    return rig


def upload_lvs(rig):
    return rig.lvs(LISTENER).upload(with_members(1, 2))


def reload_lvs(rig):
    return rig.lvs(LISTENER).reload()


def start_lvs(rig):
    return rig.lvs(LISTENER).start()


def plug_vip(rig):
    return rig.services.plug.plug_vip(parse_vip_request("203.0.113.2", VIP))


def plug_network(rig):
    return rig.services.plug.plug_network(parse_network_request(MEMBER_PORT))


def replace_rules(rig):
    return rig.services.interface_rules.replace("eth1", RULES)


def delete_instance(rig):
    return rig.catalog.delete(ID)


def delete_lvs(rig):
    return rig.catalog.delete(LISTENER)


def delete_certificate(rig):
    return rig.services.certificates.delete(ID, CERTIFICATE)


HELD = {
    upload_lvs: lambda rig: Gate(rig.engine.keepalived, "check"),
    start_lvs: lambda rig: Gate(rig.engine, "prove"),
    reload_lvs: lambda rig: Gate(rig.engine, "prove"),
    plug_vip: lambda rig: Gate(rig.network, "activate"),
    plug_network: lambda rig: Gate(rig.network, "activate"),
    replace_rules: lambda rig: Gate(rig.nftables, "load"),
    delete_instance: lambda rig: Gate(rig.processes, "remove"),
    delete_lvs: lambda rig: Gate(rig.processes, "remove"),
    delete_certificate: lambda rig: Gate(rig.cert_store, "delete"),
}


@pytest.mark.parametrize("call", HELD, ids=lambda call: call.__name__)
def test_it_is_done_once_and_everybody_gets_the_answer(served, call):
    if call is start_lvs:
        served.lvs(LISTENER).stop()
    before = len(served.operations.all())
    answers = together(HELD[call](served), lambda: call(served))
    assert not any(isinstance(each, Exception) for each in answers), answers
    assert answers == [answers[0]] * 4
    assert len(served.operations.all()) == before + 1


@pytest.mark.parametrize("call", [delete_instance, delete_lvs], ids=lambda call: call.__name__)
def test_a_delete_that_comes_when_all_files_are_gone_still_gets_the_first_answer(served, call):
    gate = Gate(served.operations, "forget")
    assert together(gate, lambda: call(served)) == [None] * 4


@pytest.mark.parametrize("call", [delete_instance, delete_lvs], ids=lambda call: call.__name__)
def test_a_delete_after_the_first_has_ended_finds_nothing(served, call):
    call(served)
    with pytest.raises(InstanceNotFound):
        call(served)


def test_a_failure_is_everybodys(served):
    served.engine.fail_at["prove"] = [ProofFailed("no")]
    served.lvs(LISTENER).upload(with_members(1, 2))
    answers = together(Gate(served.engine.keepalived, "check"), lambda: reload_lvs(served))
    assert {str(each) for each in answers} == {str(answers[0])}
    assert "no" in str(answers[0])


def test_an_instance_without_its_directory_is_ended_by_a_delete(served):
    layout = served.directory.files(ID)
    files.remove_tree(layout.directory)
    served.processes.fail_next("remove", ServiceError("a process survived"))
    with pytest.raises(Exception, match="survived"):
        served.haproxy(ID).delete()
    served.haproxy(ID).delete()
    assert layout.service_name not in served.processes.machine.specs
    assert served.cert_store.digest(ID, CERTIFICATE) is None
    with pytest.raises(InstanceNotFound):
        served.haproxy(ID).delete()


def test_a_listener_without_its_files_is_ended_by_a_delete(served):
    layout = served.lvs(LISTENER).files
    files.remove_tree(layout.directory)
    files.remove(layout.stored)
    served.catalog.delete(LISTENER)
    assert layout.service_name not in served.processes.machine.specs
    with pytest.raises(LvsListenerNotFound):
        served.lvs(LISTENER).delete()


def journals(rig):
    return sorted(path.name for path in (rig.base_path / "operations").iterdir())


def test_what_leaves_nothing_leaves_no_journal(rig):
    rig.operations.recover()
    for find, data in ((rig.haproxy, NEW), (rig.lvs, with_members(1))):
        with pytest.raises(Exception, match="BAD_LINE"):
            find(LISTENER).upload(data + b"BAD_LINE\n")
        assert journals(rig) == []
    rig.cert_store.put(ID, CERTIFICATE, b"any")
    rig.services.certificates.delete(ID, CERTIFICATE)
    assert journals(rig) == []
    assert [each.kind for each in rig.operations.all()] == ["upload", "upload", "delete"], "they are told"


def test_what_leaves_something_keeps_its_journal(served):
    with pytest.raises(Exception, match="BAD_LINE"):
        served.haproxy(ID).upload(NEW + b"BAD_LINE\n")
    delete_certificate(served)
    assert {f"{ID}.journal", f"{ID}-certificates.journal"} <= set(journals(served))
