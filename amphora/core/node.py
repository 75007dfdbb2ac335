# SPDX-License-Identifier: Apache-2.0
"""What this amphora is, and how it is doing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from amphora.core.changes.recovery import Recovery, RecoveryStep
from amphora.core.sampler import Rates, Sample, Sampler
from amphora.core.workloads.haproxy_files import HaproxyDirectory, HaproxyFiles
from amphora.drivers.package_manager.base import PackageManager
from amphora.errors import AmphoraError
from amphora.haproxy.program import HaproxyProgram
from amphora.system import host, processes, statistics
from amphora.system.statistics import DiskSpace

#: Packages whose versions matter to operators, if installed.
PACKAGES = (
    "haproxy", "keepalived", "openssl", "libssl3", "openssl-libs", "ipvsadm", "iproute2", "iproute",
    "ifupdown", "nftables", "systemd", "sysvinit-core", "python3", "bash",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """Who answers here.

    :ivar amphora_id: as the controller knows it; empty if not configured.
    :ivar haproxy_version: of the installed executable; empty if unknown.
    """

    hostname: str
    amphora_id: str
    haproxy_version: str


@dataclass(frozen=True, slots=True)
class NodeDetails:
    """How the amphora is doing.

    :ivar rates: over the last half minute.
    :ivar counters: since boot.
    :ivar haproxy_count: instances whose haproxy is alive.
    :ivar memory: as in ``/proc/meminfo``, kilobytes.
    :ivar load: of one, five and fifteen minutes.
    :ivar listeners: ids of the instances with a stored configuration.
    :ivar packages: name to version.
    :ivar recovery: what the agent did at its last start to bring back what ran.
    :ivar cpu_count: CPUs of the machine.
    :ivar tuned_profiles: names of the tuned profiles in force, as tuned writes them; may be empty.
    """

    info: NodeInfo
    rates: Rates
    counters: Sample
    haproxy_count: int
    memory: Mapping[str, int]
    disk: DiskSpace
    load: tuple[float, float, float]
    listeners: tuple[str, ...]
    packages: Mapping[str, str]
    recovery: tuple[RecoveryStep, ...]
    cpu_count: int
    tuned_profiles: str


class Node:
    """Answers questions about the amphora as a whole. Never forks and never waits for a change."""

    def __init__(
        self,
        amphora_id: str,
        haproxy: HaproxyProgram,
        directory: HaproxyDirectory,
        sampler: Sampler,
        packages: PackageManager | None,
        recovery: Recovery,
    ) -> None:
        self._amphora_id = amphora_id
        self._haproxy = haproxy
        self._directory = directory
        self._sampler = sampler
        self._packages = packages
        self._recovery = recovery

    def info(self) -> NodeInfo:
        """Return the basic facts."""
        return NodeInfo(host.hostname(), self._amphora_id, str(self._haproxy.version() or ""))

    def package_versions(self) -> Mapping[str, str]:
        """Return the version of each installed package of :data:`PACKAGES`; empty if they cannot be read."""
        return self._installed()

    def details(self) -> NodeDetails:
        """Return everything that is measured."""
        layouts = [layout for layout in self._directory.all() if layout.stored.exists()]
        return NodeDetails(
            info=self.info(),
            rates=self._sampler.rates(),
            counters=self._sampler.now(),
            haproxy_count=sum(_is_alive(layout) for layout in layouts),
            memory=statistics.memory(),
            disk=statistics.disk_space(Path("/")),
            load=statistics.load_averages(),
            listeners=tuple(layout.id for layout in layouts),
            packages=self._installed(),
            recovery=self._recovery.steps,
            cpu_count=host.cpu_count(),
            tuned_profiles=host.tuned_profiles(),
        )

    def _installed(self) -> Mapping[str, str]:
        try:
            return self._packages.installed_versions(PACKAGES) if self._packages else {}
        except AmphoraError:
            # A database that is being replaced is no reason to say nothing of all the rest.
            return {}


def _is_alive(layout: HaproxyFiles) -> bool:
    pid = processes.read_pid_file(layout.pid_file)
    if pid is None:
        return False
    # A pid that was given to another process after a crash is no haproxy of ours.
    return any(argument.startswith(f"{layout.directory}/") for argument in processes.command_line(pid))
