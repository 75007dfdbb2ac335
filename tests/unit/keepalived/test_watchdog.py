# SPDX-License-Identifier: Apache-2.0
import os
import threading
from pathlib import Path

import pytest

from amphora.errors import StorageError
from amphora.keepalived.configuration import parse
from amphora.keepalived.processes import KeepalivedProcesses
from amphora.keepalived.state import VrrpStates
from amphora.keepalived.watchdog import Watchdog
from amphora.models import Role
from amphora.system.processes import command_line

LOOPBACK = parse(b"vrrp_instance v1 {\n interface lo\n virtual_ipaddress {\n 127.0.0.1\n }\n}")
ELSEWHERE = parse(b"vrrp_instance v1 {\n interface lo\n virtual_ipaddress {\n 192.0.2.77\n }\n}")


class Rig:
    """This very process plays keepalived."""

    def __init__(self, directory):
        self.fifo = directory / "fifo"
        own = Path(command_line(os.getpid())[-1])
        self.processes = KeepalivedProcesses(
            directory / "main.pid", directory / "vrrp.pid", own, own.with_name("of-others")
        )
        self.states = VrrpStates(directory / "states.json")
        self.watchdog = Watchdog(self.processes, self.states, self.fifo, "")

    def run(self):
        self.processes.vrrp_pid_file.write_text(f"{os.getpid()}\n")

    def tell(self, *lines):
        with open(self.fifo, "wb", buffering=0) as fifo:
            fifo.write("".join(f"{line}\n" for line in lines).encode())


@pytest.fixture
def rig(short_dir):
    rig = Rig(short_dir)
    yield rig
    rig.watchdog.close()


def wait_for_role(states, role, seconds=5.0):
    for _ in range(int(seconds * 200)):
        if states.role() is role:
            return
        threading.Event().wait(0.005)
    raise AssertionError(f"the role stays {states.role()}")


def test_what_keepalived_tells_is_recorded(rig):
    rig.run()
    rig.watchdog.start()
    rig.tell('INSTANCE "v1" BACKUP 100')
    wait_for_role(rig.states, Role.STANDBY)
    rig.tell('INSTANCE "v1" MASTER 100')
    wait_for_role(rig.states, Role.ACTIVE)
    rig.tell('INSTANCE "v1" STOP 100')
    wait_for_role(rig.states, Role.UNKNOWN)


def test_what_was_told_to_nobody_is_known_after_the_start(rig):
    rig.run()
    rig.watchdog.start()
    held = os.open(rig.fifo, os.O_RDWR | os.O_NONBLOCK)
    try:
        rig.watchdog.close()
        rig.tell('INSTANCE "v1" MASTER 100')
        after = Watchdog(rig.processes, rig.states, rig.fifo, "")
        after.start()
        assert rig.states.role() is Role.ACTIVE
        after.close()
    finally:
        os.close(held)


@pytest.mark.parametrize(("configuration", "role"), [(LOOPBACK, Role.ACTIVE), (ELSEWHERE, Role.STANDBY)])
def test_without_a_word_the_addresses_tell(rig, configuration, role):
    rig.run()
    rig.watchdog.guard(configuration)
    rig.watchdog.start()
    assert rig.states.role() is role


def test_nothing_is_removed_while_keepalived_lives(rig):
    rig.run()
    rig.watchdog.guard(LOOPBACK)
    assert rig.watchdog.remove_orphans() == ()


def test_nothing_unguarded_is_removed(rig):
    assert rig.watchdog.remove_orphans() == ()
    rig.watchdog.guard(ELSEWHERE)
    assert rig.watchdog.remove_orphans() == ()


def test_an_address_on_another_interface_is_no_orphan(rig):
    text = b"vrrp_instance v1 {\n interface eth9\n virtual_ipaddress {\n 127.0.0.1\n }\n}"
    rig.watchdog.guard(parse(text))
    assert rig.watchdog.remove_orphans() == ()


def test_a_namespace_that_is_gone_holds_nothing(rig):
    away = Watchdog(rig.processes, rig.states, rig.fifo, "no-such-namespace")
    away.guard(LOOPBACK)
    assert away.remove_orphans() == ()
    away.close()


def test_something_else_in_the_place_of_the_fifo_is_replaced(rig):
    rig.fifo.write_text("a file")
    rig.watchdog.start()
    assert rig.fifo.is_fifo()
    rig.watchdog.start()


def test_a_fifo_that_cannot_be_made_is_told(rig, short_dir):
    away = Watchdog(rig.processes, rig.states, short_dir / "missing" / "fifo", "")
    with pytest.raises(StorageError, match="fifo"):
        away.start()
    away.close()
    away.close()
