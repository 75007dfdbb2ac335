# SPDX-License-Identifier: Apache-2.0
"""Immutable values that every room may use. They know no HTTP, no driver and no file layout."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from pathlib import Path
from types import MappingProxyType

IPAddress = IPv4Address | IPv6Address
IPInterface = IPv4Interface | IPv6Interface
IPNetwork = IPv4Network | IPv6Network


class Readiness(Enum):
    """How a process manager learns that a service it started is ready."""

    #: The service sends ``READY=1`` to ``NOTIFY_SOCKET`` (sd_notify(3)).
    NOTIFY = "notify"
    #: The service counts as ready once it has been executed.
    EXEC = "exec"
    #: The service forks; it is ready when its first process has ended and the pid file is there.
    FORKING = "forking"


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """What happens when a service ends without having been asked to.

    :ivar on_crash: start it again.
    :ivar delay: seconds before the first new start; doubles with each crash in a row where the
        process manager can do that.
    :ivar max_delay: seconds, upper bound of the delay.
    """

    on_crash: bool = True
    delay: float = 0.1
    max_delay: float = 30.0


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """A long-running service, described in terms of no init system.

    :ivar name: unique; letters, digits, ``-``, ``_`` and ``.`` only. It becomes the unit or job name.
    :ivar description: one line for people.
    :ivar argv: the command, absolute path first; it stays in the foreground unless FORKING.
    :ivar check_argv: run before each start and reload; a non-zero exit refuses it. Empty: no check.
    :ivar reload_signal: sent to the main process to reload it.
    :ivar pid_file: written by the service itself, or None.
    :ivar namespace: network namespace to run in; empty means the agent's own.
    :ivar environment: added to a clean environment.
    :ivar restart: what to do when it crashes.
    :ivar readiness: how it says that it is ready.
    :ivar start_timeout: seconds a start may take until it is ready.
    :ivar stop_timeout: seconds between SIGTERM and SIGKILL.
    """

    name: str
    description: str
    argv: tuple[str, ...]
    check_argv: tuple[str, ...] = ()
    reload_signal: signal.Signals = signal.SIGHUP
    pid_file: Path | None = None
    namespace: str = ""
    environment: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    restart: RestartPolicy = RestartPolicy()
    readiness: Readiness = Readiness.EXEC
    start_timeout: float = 20.0
    stop_timeout: float = 10.0


class ServiceState(Enum):
    """What a service is doing, as seen in the running processes rather than in files."""

    #: Not installed.
    ABSENT = "absent"
    #: Installed, not running, and not meant to run.
    STOPPED = "stopped"
    #: Started, not yet ready, or waiting for a restart after a crash.
    STARTING = "starting"
    RUNNING = "running"
    #: It should run and does not.
    FAILED = "failed"

    @property
    def is_at_rest(self) -> bool:
        """Whether it neither runs nor is meant to run."""
        return self in (ServiceState.ABSENT, ServiceState.STOPPED)


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """A service at one moment.

    :ivar pid: of the main process, only while it is alive.
    :ivar started_at: when that process was started (UTC).
    :ivar last_error: why it last ended or failed to start; empty when nothing is known.
    """

    state: ServiceState
    pid: int | None = None
    started_at: datetime | None = None
    last_error: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """One route of an interface.

    :ivar destination: network; the default route is ``0.0.0.0/0`` or ``::/0``.
    :ivar gateway: next hop, or None for a directly connected network.
    :ivar table: routing table number; 254 is the main table.
    :ivar preferred_source: source address, or None.
    :ivar onlink: treat the gateway as reachable although no prefix covers it.
    """

    destination: IPNetwork
    gateway: str | None = None
    table: int = 254
    preferred_source: str | None = None
    onlink: bool = False


@dataclass(frozen=True, slots=True)
class RoutingRule:
    """Packets from ``source`` are looked up in ``table``."""

    source: IPNetwork
    table: int
    priority: int = 100


class InterfaceRole(Enum):
    """What an interface of the data namespace is for."""

    VIP = "vip"
    MEMBER = "member"


@dataclass(frozen=True, slots=True)
class InterfaceConfig:
    """All that one interface of the data namespace should hold, for IPv4 and IPv6.

    :ivar name: as seen inside the namespace, ``eth1``.
    :ivar mac_address: lower case with colons; it identifies the link across reboots.
    :ivar role: a port keeps the role it was plugged with.
    :ivar floating: addresses that another program (keepalived) puts on and takes off; left alone.
    :ivar automatic: ask the network for addresses, by DHCP and by router advertisements.
    :ivar mtu: bytes, or None to leave it.
    :ivar shared_addresses: those of ``addresses`` that a VIP's port holds for a member network besides.
    :ivar shared_routes: likewise, of ``routes``.
    """

    name: str
    mac_address: str
    role: InterfaceRole = InterfaceRole.MEMBER
    addresses: tuple[IPInterface, ...] = ()
    floating: tuple[IPInterface, ...] = ()
    automatic: bool = False
    mtu: int | None = None
    routes: tuple[Route, ...] = ()
    rules: tuple[RoutingRule, ...] = ()
    shared_addresses: tuple[IPInterface, ...] = ()
    shared_routes: tuple[Route, ...] = ()


@dataclass(frozen=True, slots=True)
class Interface:
    """An interface as the kernel has it now.

    :ivar mac_address: lower case with colons; empty where the link has none, as loopback.
    """

    name: str
    mac_address: str
    up: bool
    addresses: tuple[IPInterface, ...] = ()


class ActionKind(Enum):
    """What an action came to; a reload of what does not run is a start."""

    STARTED = "started"
    RELOADED = "reloaded"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Proof:
    """What shows that a service runs with a configuration.

    :ivar pid: of its main process.
    :ivar evidence: what was seen, for people.
    """

    pid: int
    evidence: str


@dataclass(frozen=True, slots=True)
class ActionResult:
    """What a start, reload or stop came to.

    :ivar pid: of the main process, of one that was stopped before it was; None if there was none.
    :ivar evidence: what was seen; empty after a stop.
    :ivar is_unchanged: it was so already, and nothing was done.
    """

    kind: ActionKind
    pid: int | None = None
    evidence: str = ""
    is_unchanged: bool = False

    def __str__(self) -> str:
        pid = f" (pid {self.pid})" if self.pid is not None else ""
        return f"{'already ' if self.is_unchanged else ''}{self.kind.value}{pid}"


class InstanceState(Enum):
    """State of one instance, in the words of no API version."""

    RUNNING = "running"
    STOPPED = "stopped"
    ERROR = "error"


class Protocol(Enum):
    """What a listener speaks to its clients."""

    TCP = "TCP"
    HTTP = "HTTP"
    TERMINATED_HTTPS = "TERMINATED_HTTPS"


class Health(Enum):
    """Health of a pool (all three) or of a member (UP and DOWN)."""

    UP = "UP"
    DOWN = "DOWN"
    DEGRADED = "DEGRADED"


class Role(Enum):
    """What a node of an active-standby pair is, as its running keepalived has it."""

    #: It holds the virtual addresses.
    ACTIVE = "ACTIVE"
    #: It runs and does not hold them.
    STANDBY = "STANDBY"
    #: No keepalived runs here, or none has said anything yet.
    UNKNOWN = "UNKNOWN"


class DriftArea(Enum):
    """What a difference between what is wanted and what is there is about."""

    CONFIGS = "configs"
    CERTIFICATES = "certificates"
    LINKS = "links"
    ADDRESSES = "addresses"
    ROUTES = "routes"
    RULES = "rules"
    PACKET_FILTER = "packet-filter"
    SERVICES = "services"
    VIP = "vip"


class DriftReason(Enum):
    """Why something counts as a difference. The words are part of the API and never change."""

    #: A stored file is there in another form than the agent left it.
    STORED_EDITED = "stored-edited"
    STORED_MISSING = "stored-missing"
    #: What a service is started from is not what was proven last.
    RUNNING_EDITED = "running-edited"
    RUNNING_MISSING = "running-missing"
    #: What the agent would go back to.
    PROVEN_EDITED = "proven-edited"
    #: Our own second configuration file.
    OVERLAY_EDITED = "overlay-edited"
    OVERLAY_MISSING = "overlay-missing"
    #: The worker began before its configuration was written.
    WORKER_OUTDATED = "worker-outdated"
    WORKER_SILENT = "worker-silent"
    FRONTEND_CLOSED = "frontend-closed"
    FRONTEND_UNKNOWN = "frontend-unknown"
    #: Stored by the agent after the last start or reload: waits for the next one.
    PENDING_RELOAD = "pending-reload"
    PENDING_START = "pending-start"

    CERTIFICATE_REPLACED = "certificate-replaced"
    CERTIFICATE_MISSING = "certificate-missing"
    #: The file is older than the worker, which serves another one all the same.
    CERTIFICATE_NOT_SERVED = "certificate-not-served"

    LINK_MISSING = "link-missing"
    #: It is in the agent's own namespace.
    LINK_ELSEWHERE = "link-elsewhere"
    LINK_RENAMED = "link-renamed"
    LINK_DOWN = "link-down"
    MTU_DIFFERS = "mtu-differs"
    ADDRESS_MISSING = "address-missing"
    ADDRESS_UNEXPECTED = "address-unexpected"
    ROUTE_MISSING = "route-missing"
    ROUTE_UNEXPECTED = "route-unexpected"
    RULE_MISSING = "rule-missing"
    RULE_UNEXPECTED = "rule-unexpected"
    FILTER_MISSING = "filter-missing"
    FILTER_DIFFERS = "filter-differs"

    SERVICE_FAILED = "service-failed"
    #: It has ended by itself and is about to be started again.
    SERVICE_RESTARTING = "service-restarting"
    #: A process runs that no process manager knows.
    SERVICE_UNMANAGED = "service-unmanaged"

    VIP_MISSING = "vip-missing"
    VIP_ELSEWHERE = "vip-elsewhere"
    #: keepalived says that the peer should hold it.
    VIP_ON_STANDBY = "vip-on-standby"
    #: No keepalived runs that could give it up.
    VIP_ORPHANED = "vip-orphaned"

    @property
    def is_pending(self) -> bool:
        """Whether it is no drift, as the next start or reload will settle it."""
        return self in (DriftReason.PENDING_RELOAD, DriftReason.PENDING_START)


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference between desired and actual state.

    :ivar subject: what it is about, such as an instance's id or an interface's name.
    :ivar desired: for people; ``absent`` if nothing should be there.
    :ivar found: likewise, of what is there.
    """

    area: DriftArea
    subject: str
    reason: DriftReason
    desired: str
    found: str
