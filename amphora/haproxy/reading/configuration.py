# SPDX-License-Identifier: Apache-2.0
"""The parts of a haproxy configuration that the agent needs.

The reader is tolerant: haproxy itself decides whether a configuration is valid
(:meth:`amphora.haproxy.program.HaproxyProgram.check`). What only haproxy knows, such as the value of an
environment variable or the result of an ``.if``, is marked and never guessed.

Two comments, each on a line of its own, give pools and members other ids than their names::

    # amphora pool BACKEND UUID
    # amphora member BACKEND/SERVER UUID
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from uuid import UUID

from amphora.haproxy.reading.addresses import Endpoint, parse_addresses, unresolvable
from amphora.haproxy.reading.binds import Bind, parse_bind
from amphora.haproxy.reading.lines import Line, decode, read_lines
from amphora.haproxy.reading.section_lines import SectionLine, section_lines
from amphora.haproxy.reading.servers import Server, ServerDefaults, parse_server, parse_template
from amphora.models import Protocol

_PROXY_SECTIONS = ("defaults", "frontend", "listen", "backend")
_ID_COMMENT = re.compile(r"[ \t]*#[ \t]*amphora[ \t]+(pool|member)[ \t]+(\S+)[ \t]+(\S+)[ \t\r]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Frontend:
    """A ``frontend`` section, or the listening half of a ``listen`` section.

    :ivar mode: ``http``, ``tcp`` or what newer versions know; from ``defaults`` where not set here.
    :ivar default_backend: its name, or empty.
    :ivar disabled: haproxy keeps it closed.
    :ivar certain: False inside an ``.if`` or when its name depends on an environment variable.
    """

    name: str
    line: int
    mode: str = "tcp"
    binds: tuple[Bind, ...] = ()
    default_backend: str = ""
    disabled: bool = False
    certain: bool = True

    @property
    def expected_open(self) -> bool:
        """Whether a process that runs this configuration must have it open."""
        return self.certain and not self.disabled


@dataclass(frozen=True, slots=True)
class Backend:
    """A ``backend`` section, or the serving half of a ``listen`` section that has servers."""

    name: str
    line: int
    mode: str = "tcp"
    servers: tuple[Server, ...] = ()
    disabled: bool = False


@dataclass(frozen=True, slots=True)
class Peer:
    """One peer of a ``peers`` section; haproxy listens on the address of the local one.

    :ivar name: empty for a ``bind`` line, which always is the local peer's.
    """

    name: str
    bind: Bind


@dataclass(frozen=True, slots=True)
class Configuration:
    """One configuration file.

    :ivar stats_sockets: of the ``global`` sections.
    :ivar log_binds: of the ``log-forward`` sections.
    :ivar local_peer: the global ``localpeer``, or empty.
    :ivar log_targets: addresses of the global ``log`` lines.
    :ivar reuse_port: False after the global ``noreuseport``.
    :ivar pool_ids: backend name to pool id, for every backend.
    :ivar member_ids: (backend name, server name) to member id, for every server.
    :ivar lines: all of them.
    """

    frontends: tuple[Frontend, ...] = ()
    backends: tuple[Backend, ...] = ()
    peers: tuple[Peer, ...] = ()
    stats_sockets: tuple[Bind, ...] = ()
    log_binds: tuple[Bind, ...] = ()
    local_peer: str = ""
    sets_user: bool = False
    sets_group: bool = False
    sets_chroot: bool = False
    log_targets: tuple[str, ...] = ()
    reuse_port: bool = True
    pool_ids: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    member_ids: Mapping[tuple[str, str], str] = field(default_factory=lambda: MappingProxyType({}))
    lines: tuple[Line, ...] = field(default=(), repr=False, compare=False)

    @property
    def main_frontend(self) -> Frontend | None:
        """The frontend that represents a file with one listener: the first."""
        return self.frontends[0] if self.frontends else None

    @property
    def listeners(self) -> tuple[Frontend, ...]:
        """The frontends that serve clients, without those that exist for the amphora's own metrics."""
        return tuple(frontend for frontend in self.frontends if not is_internal(frontend.name))

    def expected_frontends(self) -> frozenset[str]:
        """Return the names of the frontends that a process running this must have open."""
        return frozenset(frontend.name for frontend in self.frontends if frontend.expected_open)

    def listening(self, local_peer: str = "") -> Iterator[Bind]:
        """Yield every bind that a process running this would open.

        :param local_peer: the name given to haproxy with ``-L``; without one the configuration's own
            ``localpeer`` counts, then the host name.
        """
        for frontend in self.frontends:
            if not frontend.disabled:
                yield from frontend.binds
        local = local_peer or self.local_peer or socket.gethostname()
        yield from (peer.bind for peer in self.peers if peer.name in ("", local))
        yield from self.stats_sockets
        yield from self.log_binds


def parse(data: bytes) -> Configuration:
    """Read a configuration as far as the agent needs it; odd text is ignored.

    :raises InvalidConfiguration: it is not UTF-8 or holds a NUL byte; the details name the line.
    """
    text = decode(data)
    lines = tuple(read_lines(text))
    parser = _Parser()
    for line in section_lines(lines):
        parser.take(line)
    return replace(_with_ids(parser.finish(), text), lines=lines)


def is_internal(proxy: str) -> bool:
    """Whether a section of this name exists for the amphora's own metrics and carries no traffic."""
    return proxy.startswith("prometheus-exporter-internal")


def protocol(frontend: Frontend) -> Protocol:
    """Return the protocol of a frontend; TERMINATED_HTTPS if any of its bind lines has TLS."""
    if any(bind.ssl for bind in frontend.binds):
        return Protocol.TERMINATED_HTTPS
    return Protocol.HTTP if frontend.mode == "http" else Protocol.TCP


@dataclass(slots=True)
class _Proxy:
    """A proxy section as read so far; ``defaults`` is one too."""

    kind: str
    name: str = ""
    line: int = 0
    certain: bool = True
    mode: str = "tcp"
    disabled: bool = False
    default_backend: str = ""
    server_defaults: ServerDefaults = ServerDefaults()
    binds: list[Bind] = field(default_factory=list)
    servers: list[Server] = field(default_factory=list)


class _Parser:
    def __init__(self) -> None:
        self._stats_sockets: list[Bind] = []
        self._log_targets: list[str] = []
        self._global_words: set[str] = set()
        self._local_peer = self._unix_prefix = ""
        self._proxies: list[_Proxy] = []
        self._peers: list[tuple[_Proxy, Peer]] = []
        self._log_binds: list[Bind] = []
        self._latest_defaults = _Proxy("defaults")
        self._named_defaults: dict[str, _Proxy] = {}
        self._current = _Proxy("")
        self._certain = True
        self._readers: dict[str, Callable[[Line], None]] = {
            "global": self._read_global,
            "defaults": self._read_proxy,
            "frontend": self._read_proxy,
            "backend": self._read_proxy,
            "listen": self._read_proxy,
            "peers": self._read_peers,
            "log-forward": self._read_log_forward,
        }

    def take(self, line: SectionLine) -> None:
        self._certain = line.certain
        if line.head:
            self._begin(line.line)
        elif read := self._readers.get(self._current.kind):
            read(line.line)

    def finish(self) -> Configuration:
        words = self._global_words
        listens = [proxy for proxy in self._proxies if proxy.kind == "listen" and proxy.servers]
        backends = [proxy for proxy in self._proxies if proxy.kind == "backend" or proxy in listens]
        return Configuration(
            frontends=tuple(
                Frontend(p.name, p.line, p.mode, tuple(p.binds), p.default_backend, p.disabled, p.certain)
                for p in self._proxies
                if p.kind in ("frontend", "listen")
            ),
            backends=tuple(Backend(p.name, p.line, p.mode, tuple(p.servers), p.disabled) for p in backends),
            peers=tuple(peer for section, peer in self._peers if not section.disabled),
            stats_sockets=tuple(self._stats_sockets),
            log_binds=tuple(self._log_binds),
            local_peer=self._local_peer,
            sets_user=not words.isdisjoint({"user", "uid"}),
            sets_group=not words.isdisjoint({"group", "gid"}),
            sets_chroot="chroot" in words,
            log_targets=tuple(self._log_targets),
            reuse_port="noreuseport" not in words,
        )

    def _begin(self, line: Line) -> None:
        kind, name = line.words[0], _word(line, 1)
        self._current = _Proxy(kind, name, line.number)
        if kind not in _PROXY_SECTIONS:
            return
        anonymous = kind == "defaults" and name == "from"
        parent = _word(line, 2 if anonymous else 3) if anonymous or _word(line, 2) == "from" else ""
        if parent:
            self._inherit(self._named_defaults.get(parent, _Proxy("defaults")))
        elif kind != "defaults":
            self._inherit(self._latest_defaults)
        if kind == "defaults":
            self._latest_defaults = self._named_defaults[name] = self._current
        else:
            self._current.certain = self._certain and 1 not in line.variables
            self._proxies.append(self._current)

    def _inherit(self, defaults: _Proxy) -> None:
        self._current.mode = defaults.mode
        self._current.disabled = defaults.disabled
        self._current.default_backend = defaults.default_backend
        self._current.server_defaults = defaults.server_defaults

    def _read_global(self, line: Line) -> None:
        keyword, value = line.words[0], _word(line, 1)
        self._global_words.add(keyword)
        if keyword == "stats" and value == "socket" and len(line.words) > 2:
            # The prefix of unix-bind does not count for these.
            self._stats_sockets.append(self._bind(line, 2))
        elif keyword == "log" and value:
            self._log_targets.append(value)
        elif keyword == "localpeer":
            self._local_peer = value
        elif keyword == "unix-bind" and "prefix" in line.words[:-1]:
            self._unix_prefix = line.words[line.words.index("prefix") + 1]

    def _read_proxy(self, line: Line) -> None:
        keyword, value, proxy = line.words[0], _word(line, 1), self._current
        if keyword == "mode" and value:
            proxy.mode = value
        elif keyword in ("disabled", "enabled"):
            proxy.disabled = keyword == "disabled"
        elif keyword == "default_backend":
            proxy.default_backend = value
        elif keyword == "default-server":
            proxy.server_defaults = proxy.server_defaults.apply(line.words[1:])
        elif keyword == "bind" and value:
            proxy.binds.append(self._bind(line, 1, self._unix_prefix))
        elif keyword in ("server", "server-template"):
            self._read_server(line)

    def _read_server(self, line: Line) -> None:
        proxy = self._current
        if line.words[0] == "server-template":
            proxy.servers.extend(parse_template(line.number, line.words, proxy.server_defaults))
        elif server := parse_server(line.number, line.words, proxy.server_defaults):
            proxy.servers.append(server)

    def _read_peers(self, line: Line) -> None:
        keyword, words = line.words[0], line.words
        if keyword in ("disabled", "enabled"):
            self._current.disabled = keyword == "disabled"
        elif keyword == "bind" and len(words) > 1:
            self._peers.append((self._current, Peer("", self._bind(line, 1))))
        elif keyword in ("peer", "server") and len(words) > 2:
            self._peers.append((self._current, Peer(words[1], self._bind(line, 2))))

    def _read_log_forward(self, line: Line) -> None:
        if line.words[0] in ("bind", "dgram-bind") and len(line.words) > 1:
            datagram = line.words[0] == "dgram-bind"
            self._log_binds.append(self._bind(line, 1, self._unix_prefix, datagram))

    def _bind(self, line: Line, position: int, unix_prefix: str = "", datagram: bool = False) -> Bind:
        text = line.words[position]
        if not self._certain or position in line.variables:
            endpoints: tuple[Endpoint, ...] = (unresolvable(text),)
        else:
            endpoints = parse_addresses(text, unix_prefix=unix_prefix, datagram=datagram)
        return parse_bind(line.number, text, endpoints, line.words[position + 1 :])


def _word(line: Line, position: int) -> str:
    return line.words[position] if position < len(line.words) else ""


def _with_ids(configuration: Configuration, text: str) -> Configuration:
    """Add the ids of pools and members: from comments, else from the names.

    In names like ``POOL:LISTENER``, which Octavia writes, the part before the last colon is the pool.
    """
    given = _commented_ids(text)
    pools = {
        backend.name: given.get(("pool", backend.name)) or backend.name.rpartition(":")[0] or backend.name
        for backend in configuration.backends
    }
    members = {
        (backend.name, server.name): given.get(("member", f"{backend.name}/{server.name}"), server.name)
        for backend in configuration.backends
        for server in backend.servers
    }
    return replace(configuration, pool_ids=MappingProxyType(pools), member_ids=MappingProxyType(members))


def _commented_ids(text: str) -> dict[tuple[str, str], str]:
    """Return (``pool`` or ``member``, name) to id; comments without a UUID are ignored."""
    ids = {}
    for raw in text.split("\n") if "amphora" in text else ():
        if (match := _ID_COMMENT.fullmatch(raw)) and (uuid := _canonical(match[3])):
            ids[match[1], match[2]] = uuid
    return ids


def _canonical(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        return ""
