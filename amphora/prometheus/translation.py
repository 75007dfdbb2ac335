# SPDX-License-Identifier: Apache-2.0
"""Translate haproxy's metrics, line by line (Prometheus text format 0.0.4).

Users of a load balancer know listeners, pools and members. Metrics that are not listed are left out: they are
about the amphora rather than the load balancer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from amphora.prometheus.exposition import gauge, sample

#: haproxy's own sections that serve the metrics are no listeners.
_INTERNAL = "prometheus-exporter"
_SAMPLE = re.compile(r"([A-Za-z_:][A-Za-z0-9_:]*)(\{(?:[^\"}]|\"(?:[^\"\\]|\\.)*\")*\})?( .*)")
_LABEL = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(\"(?:[^\"\\]|\\.)*\")")
_COMMENT = re.compile(r"# (HELP|TYPE) ([A-Za-z_:][A-Za-z0-9_:]*)( .*)?")
_BRACES = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True, slots=True)
class Group:
    """Metrics of one kind of thing.

    :ivar source: what their names begin with at haproxy; :ivar target: and for users.
    :ivar labels: names of labels at haproxy and for users.
    :ivar suffixes: how the names go on, alternatives in braces; ``old=new`` where the two differ.
    """

    source: str
    target: str
    labels: tuple[tuple[str, str], ...]
    suffixes: str


_TIMES = """
    {queue,connect,response,total}_time_average_seconds max_{queue,connect,response,total}_time_seconds
"""
_COMMON = """
    status {current,max,limit}_sessions sessions_total bytes_{in,out}_total failed_header_rewriting_total
"""
_CACHED = """
    http_cache_{lookups,hits}_total http_comp_bytes_{in,out,bypassed}_total http_comp_responses_total
"""
_BALANCED = """
    max_session_rate last_session_seconds {current,max}_queue connection_{attempts,reuses}_total
    {connection,response}_errors_total {retry,redispatch}_warnings_total check_up_down_total
    check_last_change_seconds downtime_seconds_total loadbalanced_total http_responses_total
"""

GROUPS = (
    Group(
        "haproxy_process_pool_",
        "octavia_memory_pool_",
        (),
        "{allocated,used}_bytes failures_total",
    ),
    Group(
        "haproxy_process_",
        "octavia_loadbalancer_",
        (),
        """
        max_connections current_connections connections_total requests_total
        {max,current}_ssl_connections ssl_connections_total
        {current,limit,max}_connection_rate {current,limit,max}_session_rate {current,limit,max}_ssl_rate
        {current,max}_frontend_ssl_key_rate frontend_ssl_reuse {current,max}_backend_ssl_key_rate
        ssl_cache_lookups_total ssl_cache_misses_total http_comp_bytes_{in,out}_total limit_http_comp
        listeners dropped_logs_total
        """,
    ),
    Group(
        "haproxy_frontend_",
        "octavia_listener_",
        (("proxy", "listener"),),
        f"""
        {_COMMON} {_CACHED} {{limit,max}}_session_rate connections_rate_max connections_total
        {{requests,responses}}_denied_total request_errors_total denied_{{connections,sessions}}_total
        http_requests_rate_max http_{{requests,responses}}_total intercepted_requests_total
        """,
    ),
    Group(
        "haproxy_backend_",
        "octavia_pool_",
        (("proxy", "pool"),),
        f"""
        {_COMMON} {_CACHED} {_TIMES} {_BALANCED} {{requests,responses}}_denied_total client_aborts_total
        server_aborts_total=member_aborts_total active_servers=active_members
        backup_servers=backup_members http_requests_total
        """,
    ),
    Group(
        "haproxy_server_",
        "octavia_member_",
        (("proxy", "pool"), ("server", "member")),
        f"""
        {_COMMON} {_TIMES} {_BALANCED} queue_limit responses_denied_total {{client,server}}_aborts_total
        weight check_failures_total current_throttle idle_connections_{{current,limit}}
        """,
    ),
)


def renamed() -> dict[str, tuple[str, Group]]:
    """Return, for each name at haproxy, the one for users and the group it belongs to."""
    table = {}
    for group in GROUPS:
        for word in _words(group.suffixes):
            old, _, new = word.partition("=")
            table[group.source + old] = (group.target + (new or old), group)
    return table


def _words(text: str) -> Iterator[str]:
    for word in text.split():
        yield from _alternatives(word)


def _alternatives(word: str) -> Iterator[str]:
    match = _BRACES.search(word)
    if match is None:
        yield word
        return
    for choice in match[1].split(","):
        yield from _alternatives(word[: match.start()] + choice + word[match.end() :])


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
