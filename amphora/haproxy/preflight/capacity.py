# SPDX-License-Identifier: Apache-2.0
"""What a configuration needs of the machine: open files and memory, estimated before anything is started.

Open files follow haproxy's own sum (configuration manual, ``ulimit-n``; measured on 2.6, 3.0, 3.2
and 3.4): haproxy ends at once when it may not have them, which ``haproxy -c`` never finds out.

Memory is a model of what a worker takes before its first client, by the figures of its version
(:mod:`amphora.haproxy.preflight.footprint`), and what connections add to it at most.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from amphora.haproxy.preflight.footprint import OLDEST, Footprint
from amphora.haproxy.reading.certificates import certificate_files, loading_rules
from amphora.haproxy.reading.configuration import Configuration
from amphora.haproxy.reading.references import FileKind, referenced_files
from amphora.haproxy.reading.section_lines import SectionLine, global_values, section_lines
from amphora.haproxy.reading.served_certificates import certificate_paths

_KIB = 1024
MIB = 1024 * 1024

_DESCRIPTORS_PER_THREAD = 3
#: Authorities take so many times the size of their file, once and again for each bind or server.
_AUTHORITY_ONCE, _AUTHORITY_EACH = 7, 2
#: Two buffers and what belongs to them; TLS has records besides.
_CONNECTION = 36 * _KIB
_TLS_CONNECTION = 56 * _KIB
_TEMPLATE = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Capacity:
    """The size of a configuration.

    :ivar footprint: of the haproxy that runs it.
    :ivar maxconn: the global one, or None where haproxy chooses it by what it may have.
    :ivar descriptor_setting: the global ``ulimit-n``, or None.
    :ivar descriptor_cap: the global ``fd-hard-limit``, or None.
    :ivar strict: haproxy ends when a limit cannot be had.
    :ivar threads: None where haproxy chooses, by the CPUs it may use.
    :ivar listeners: sockets to listen on, every port of a range being one.
    :ivar patterns: lines of maps and of files of patterns.
    :ivar authority_memory: bytes.
    :ivar spliced: connections for which pipes are kept, at most.
    :ivar line: number of the line with the global ``maxconn`` or ``ulimit-n``; 0 for none.
    """

    footprint: Footprint = OLDEST
    maxconn: int | None = None
    descriptor_setting: int | None = None
    descriptor_cap: int | None = None
    strict: bool = True
    threads: int | None = None
    listeners: int = 0
    frontends: int = 0
    backends: int = 0
    servers: int = 0
    tls_servers: int = 0
    checks: int = 0
    spliced: int = 0
    tls_binds: int = 0
    certificates: int = 0
    patterns: int = 0
    authority_memory: int = 0
    line: int = 0

    def descriptors(self) -> int | None:
        """Return how many open files haproxy asks for; None if it adapts to its limit.

        A worker's own control sockets are left out, so it can be a little more.
        """
        if self.descriptor_setting:
            return self.descriptor_setting
        if not self.maxconn:
            return None
        fixed = self.footprint.reserved_descriptors + self.listeners + self.checks
        return fixed + 2 * self.maxconn + 2 * (self.spliced // 4) + _DESCRIPTORS_PER_THREAD * self._threads()

    def idle_memory(self, descriptor_limit: int | None = None) -> int:
        """Return the bytes of a worker before its first client."""
        descriptors = self.descriptors() or min(descriptor_limit or 0, self.descriptor_cap or 1 << 20)
        each = self.footprint
        return (
            each.process
            + self._threads() * each.thread
            + self.frontends * each.frontend
            + self.backends * each.backend
            + self.servers * each.server
            + self.tls_servers * each.tls_server
            + self.certificates * each.certificate
            + (each.tls if self.tls_binds else 0)
            + self.tls_binds * each.tls_bind
            + self.patterns * each.pattern
            + self.authority_memory
            + descriptors * each.descriptor
        )

    def most_memory(self, descriptor_limit: int | None = None) -> int | None:
        """Return the bytes of a worker whose every connection is in use; None without a ``maxconn``."""
        if not self.maxconn:
            return None
        each = _TLS_CONNECTION if self.tls_binds or self.tls_servers else _CONNECTION
        return self.idle_memory(descriptor_limit) + self.maxconn * each

    def _threads(self) -> int:
        return self.threads or len(os.sched_getaffinity(0))


def needed_memory(
    wanted: Capacity, running: Capacity | None, worker_memory: int | None, descriptor_limit: int | None = None
) -> int:
    """Return the bytes that a start or a reload takes on top of what is in use now.

    The new worker will have the clients of the one that runs, so it is taken to grow to that one's size,
    times how much larger its configuration is, but not beyond what its ``maxconn`` lets it take. The
    master's own copy of the configuration comes on top.

    :param running: of the worker that runs, or None at a first start.
    :param worker_memory: what that worker takes now.
    """
    idle = wanted.idle_memory(descriptor_limit)
    need = idle
    if running is not None and worker_memory is not None:
        growth = idle / running.idle_memory(descriptor_limit)
        need = max(idle, int(worker_memory * growth))
        # Beyond what it has while idle, only connections take memory.
        most = wanted.most_memory(descriptor_limit)
        need = need if most is None else min(need, most)
    return need + wanted.footprint.master


def read_capacity(configuration: Configuration, footprint: Footprint = OLDEST) -> Capacity:
    """Return the size of a configuration; lines inside conditions do not count.

    :param footprint: of the haproxy that runs it.
    """
    count = _Count()
    for line in section_lines(configuration.lines):
        if line.certain:
            count.take(line)
    values = global_values(configuration.lines)
    servers = [server for backend in configuration.backends for server in backend.servers]
    binds = list(configuration.listening())
    certificates, patterns, authority_memory = _file_sizes(configuration)
    maxconn = _number(values, "maxconn")
    return Capacity(
        footprint=footprint,
        maxconn=maxconn,
        descriptor_setting=_number(values, "ulimit-n"),
        descriptor_cap=_number(values, "fd-hard-limit"),
        strict=values.get("no", ()) != ("strict-limits",),
        threads=_number(values, "nbthread"),
        listeners=sum(max(1, len(endpoint.ports)) for bind in binds for endpoint in bind.endpoints),
        frontends=len(configuration.frontends),
        backends=len(configuration.backends),
        servers=len(servers),
        tls_servers=count.tls_servers,
        checks=sum(server.checked for server in servers),
        spliced=(maxconn or 0) if count.splices else 0,
        tls_binds=sum(bind.ssl for bind in binds),
        certificates=certificates,
        patterns=patterns,
        authority_memory=authority_memory,
        line=count.line,
    )


@dataclass(slots=True)
class _Count:
    """Counts that need the lines themselves."""

    splices: bool = False
    tls_servers: int = 0
    line: int = 0

    def take(self, line: SectionLine) -> None:
        words = line.words
        if line.section == "global" and words[0] in ("maxconn", "ulimit-n"):
            self.line = line.number
        elif words[0] == "option" and words[1:2] and words[1].startswith("splice-"):
            self.splices = True
        elif words[0] == "server" and "ssl" in words[3:]:
            self.tls_servers += 1
        elif (
            words[0] == "server-template" and "ssl" in words[4:] and (match := _TEMPLATE.fullmatch(words[2]))
        ):
            first, last = (int(match[1]), int(match[2])) if match[2] else (1, int(match[1]))
            self.tls_servers += max(0, last - first + 1)


def _file_sizes(configuration: Configuration) -> tuple[int, int, int]:
    """Return how many certificates and patterns files hold, and the memory that authorities take.

    Each certificate counts once, as haproxy keeps one copy.
    """
    rules = loading_rules(global_values(configuration.lines))
    references = referenced_files(configuration.lines)
    loaded: set[Path] = set()
    for reference in references:
        with suppress(OSError):
            loaded.update(path for path in certificate_paths(reference, rules) if path)
    certificates = 0
    for path in loaded:
        with suppress(OSError):
            certificates += len(certificate_files(path, rules))
    texts = (ref for ref in references if ref.kind is FileKind.TEXT and ref.keyword != "errorfile")
    patterns = sum(map(_count_lines, {ref.location for ref in texts}))
    authorities = [ref.location for ref in references if ref.kind is FileKind.AUTHORITY]
    memory = sum(_size(path) * _AUTHORITY_EACH for path in authorities)
    return certificates, patterns, memory + sum(_size(path) * _AUTHORITY_ONCE for path in set(authorities))


def _number(values: dict[str, tuple[str, ...]], keyword: str) -> int | None:
    words = values.get(keyword, ())
    return int(words[0]) if words and words[0].isdecimal() and len(words[0]) < 10 else None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except (OSError, ValueError):
        return 0


def _count_lines(path: Path) -> int:
    """Return the number of lines of a regular file, or 0."""
    if not path.is_file():
        return 0
    try:
        with path.open("rb") as file:
            return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(256 * _KIB), b""))
    except OSError:
        return 0
