# SPDX-License-Identifier: Apache-2.0
"""Proves by the running processes that keepalived has applied a configuration.

A signal to keepalived has no answer. Our overlay gives the VRRP process a new name with each change, which
it takes once it has read its files, and it reports the state of each instance that is new to it. It may still
end right afterwards because of what it has read, so it must live on for a moment.
"""

from __future__ import annotations

import os
import secrets
import select
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from amphora.errors import ProofFailed
from amphora.keepalived.configuration import KeepalivedConfiguration
from amphora.keepalived.processes import KeepalivedProcesses
from amphora.keepalived.state import VrrpState, VrrpStates
from amphora.system.addresses import addresses_in
from amphora.system.processes import ProcessIdentity
from amphora.system.processes import bytes_read as bytes_read_now
from amphora.system.sockets import process_name

_POLL_INTERVAL = 0.01

#: Seconds that keepalived must live on. One that refuses what it has read ends within 0.05 s.
_SETTLING_TIME = 0.2


@dataclass(frozen=True, slots=True)
class KeepalivedEvidence:
    """Proof that a configuration runs.

    :ivar main_pid: of the process that the process manager supervises.
    :ivar vrrp_pid: of its child, which holds the virtual addresses.
    :ivar seconds: from the action to the proof.
    """

    main_pid: int
    vrrp_pid: int
    seconds: float


@dataclass(frozen=True, slots=True)
class RunningKeepalived:
    """What runs before a reload.

    :ivar main: the main process, which must be the same afterwards.
    :ivar bytes_read: by its VRRP process so far, if another agent has started it: then only what it reads
        shows that it applies a configuration. None: it reports by itself.
    """

    main: ProcessIdentity
    bytes_read: int | None = None


def new_generation() -> str:
    """Return a name for the VRRP process that the one running now does not have."""
    return f"keepalived-{secrets.token_hex(2)}"


class KeepalivedProof:
    """Polls the processes, their states and their addresses until all agree."""

    def __init__(self, processes: KeepalivedProcesses, states: VrrpStates, namespace: str) -> None:
        self._processes = processes
        self._states = states
        self._namespace = namespace

    def await_generation(
        self,
        generation: str,
        configuration: KeepalivedConfiguration,
        deadline: float,
        before: RunningKeepalived | None = None,
    ) -> KeepalivedEvidence:
        """Return once keepalived has applied the overlay of a generation.

        :param deadline: in the time of :func:`time.monotonic`.
        :param before: what was reloaded.
        :raises ProofFailed: it ended, or timed out; says what is missing.
        """
        begun = time.monotonic()
        while True:
            main, vrrp = self._processes.main(), self._processes.vrrp()
            if before is not None and not before.main.is_alive():
                raise _ended(before.main)
            if before is not None and before.bytes_read is not None:
                missing = list(self._missing_of_foreign(configuration, before.bytes_read, vrrp))
            else:
                missing = list(self._missing(generation, configuration, main, vrrp))
            if main and vrrp and not missing:
                if not _lives_on(vrrp):
                    raise _ended(main)
                return KeepalivedEvidence(main.pid, vrrp.pid, time.monotonic() - begun)
            if time.monotonic() >= deadline:
                raise ProofFailed(f"timed out waiting for keepalived: {'; '.join(missing)}")
            time.sleep(_POLL_INTERVAL)

    def _missing(
        self,
        generation: str,
        configuration: KeepalivedConfiguration,
        main: ProcessIdentity | None,
        vrrp: ProcessIdentity | None,
    ) -> Iterator[str]:
        if main is None or vrrp is None:
            yield "a process is missing"
            return
        if process_name(vrrp.pid) != generation:
            yield "its VRRP process has not read the configuration"
            return
        states = self._states.get()
        for instance in configuration.instances:
            # A name with a variable that we cannot resolve is not the one that keepalived reports.
            if instance.name not in states and "$" not in instance.name:
                yield f"instance {instance.name} has reported no state"
        if not states:
            yield "no instance has reported a state"
        yield from self._missing_addresses(configuration, states)

    def _missing_of_foreign(
        self, configuration: KeepalivedConfiguration, bytes_read: int, vrrp: ProcessIdentity | None
    ) -> Iterator[str]:
        """Yield what is missing, by what the VRRP process has read and the addresses that it holds.

        Meanwhile it reads eight bytes a second at most (measured).
        """
        if vrrp is None:
            yield "a process is missing"
            return
        if (bytes_read_now(vrrp.pid) or 0) - bytes_read < self._processes.of_others.stat().st_size:
            yield "its VRRP process has not read the configuration"
        held = {each.address.ip for each in addresses_in(self._namespace)}
        for instance in configuration.instances:
            own = {each.address.ip for each in instance.addresses}
            if own & held and own - held:
                yield f"virtual addresses {', '.join(map(str, sorted(own - held)))} are missing"

    def _missing_addresses(
        self, configuration: KeepalivedConfiguration, states: Mapping[str, VrrpState]
    ) -> Iterator[str]:
        masters = [each for each in configuration.instances if states.get(each.name) is VrrpState.MASTER]
        if not masters:
            return
        held = {each.address.ip for each in addresses_in(self._namespace)}
        for address in (address for master in masters for address in master.addresses):
            if address.address.ip not in held:
                yield f"virtual address {address.address.ip} is missing although this node is master"


def _ended(main: ProcessIdentity) -> ProofFailed:
    return ProofFailed(f"keepalived (pid {main.pid}) has ended because of the configuration")


def _lives_on(process: ProcessIdentity) -> bool:
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    try:
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        return process.is_alive() and not poller.poll(_SETTLING_TIME * 1000)
    finally:
        os.close(descriptor)
