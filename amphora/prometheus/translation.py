# SPDX-License-Identifier: Apache-2.0
"""Translate haproxy's metrics, line by line (Prometheus text format 0.0.4)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from amphora.prometheus.exposition import gauge, sample
from amphora.prometheus.names import Group, renamed

#: haproxy's own sections that serve the metrics are nobody's listener.
_INTERNAL = "prometheus-exporter"
_SAMPLE = re.compile(r"([A-Za-z_:][A-Za-z0-9_:]*)(\{(?:[^\"}]|\"(?:[^\"\\]|\\.)*\")*\})?( .*)")
_LABEL = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(\"(?:[^\"\\]|\\.)*\")")
_COMMENT = re.compile(r"# (HELP|TYPE) ([A-Za-z_:][A-Za-z0-9_:]*)( .*)?")


class Translator:
    """Knows the table of names."""

    def __init__(self) -> None:
        self._names = renamed()

    def lines(self, lines: Iterable[str]) -> Iterator[str]:
        """Yield the translation of those lines that are passed on, without line ends."""
        for line in lines:
            if _INTERNAL not in line:
                translated = self._comment(line) if line.startswith("#") else self._sample(line)
                if translated is not None:
                    yield translated

    def _comment(self, line: str) -> str | None:
        match = _COMMENT.fullmatch(line)
        found = self._names.get(match[2]) if match else None
        return f"# {match[1]} {found[0]}{match[3] or ''}" if match and found else None

    def _sample(self, line: str) -> str | None:
        match = _SAMPLE.fullmatch(line)
        found = self._names.get(match[1]) if match else None
        if match is None or found is None:
            return None
        name, group = found
        return f"{name}{_labels(match[2] or '', group)}{match[3]}"


def _labels(text: str, group: Group) -> str:
    names = dict(group.labels)
    return _LABEL.sub(lambda match: f"{names.get(match[1], match[1])}={match[2]}", text)


def own_gauges(load: float, cpus: int, memory: dict[str, int]) -> list[str]:
    """Return the lines about the amphora as a whole, both in percent.

    :param load: average number of processes that wanted to run, of the last minute.
    :param memory: kilobytes, as ``/proc/meminfo`` names them.
    """
    total = memory.get("MemTotal", 0)
    used = total - memory.get("MemAvailable", total)
    gauges = (
        ("cpu", "Load balancer CPU utilization (percentage).", 100 * load / max(cpus, 1)),
        ("memory", "Load balancer memory utilization (percentage).", 100 * used / total if total else 0.0),
    )
    return [
        line
        for name, description, value in gauges
        for line in gauge(f"octavia_loadbalancer_{name}", description, sample(round(value, 1))).lines()
    ]
