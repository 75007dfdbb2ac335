# SPDX-License-Identifier: Apache-2.0
"""Requests of a controller, recorded and made again as after time-outs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from random import Random

from amphora.testing.agent import AgentProcess
from tests.interop.driver import Request

#: What a driver of Octavia's takes for success; 409 only of a port that is plugged already.
_CONFLICT = 409


@dataclass(frozen=True)
class Retry:
    """How often a request is made, and whether the repetitions begin before the first has been answered."""

    request: Request
    times: int
    at_once: bool

    def __str__(self) -> str:
        how = " at once" if self.at_once and self.times > 1 else ""
        return f"{self.request.method} {self.request.path} x{self.times}{how}"


def retried(requests: Sequence[Request], random: Random) -> Iterator[Retry]:
    """Repeat some of the requests, which keep their order."""
    for request in requests:
        yield Retry(request, random.choice((1, 1, 2, 3)), random.random() < 0.3)


def make(agent: AgentProcess, retry: Retry) -> list[int]:
    """Make a request as often as is wanted and return the statuses.

    :raises AssertionError: a controller would not accept one of them.
    """
    request = retry.request
    headers = {"Content_Type": request.content_type} if request.content_type else {}
    body = request.body or None

    def once(_number: int) -> int:
        return agent.call(request.method, request.path, body, **headers).status

    with ThreadPoolExecutor(retry.times if retry.at_once else 1) as pool:
        statuses = list(pool.map(once, range(retry.times)))
    for status in statuses:
        assert is_acceptable(request, status), f"{retry} was answered {statuses}"
    return statuses


def is_acceptable(request: Request, status: int) -> bool:
    """Whether a driver goes on after this answer as after that which was recorded."""
    if request.method == "POST" and "/plug/" in request.path:
        return status in (202, _CONFLICT)
    if request.method == "GET" and "/certificates/" in request.path:
        # Both lead on: to the upload, or past it.
        return status in (200, 404)
    return status == request.status


def state(agent: AgentProcess, load_balancer: str) -> dict[str, object]:
    """Return what lasts of all requests, as far as it can be compared."""
    certificates = agent.directory / "certs" / load_balancer
    configuration = agent.call("GET", f"/1.0/loadbalancer/{load_balancer}/haproxy")
    running = agent.base_path / load_balancer / "running.cfg"
    return {
        "listeners": sorted(each["uuid"] for each in agent.call("GET", "/1.0/listeners").json),
        "stored": configuration.body if configuration.status == 200 else None,
        "running": running.read_bytes() if running.exists() else None,
        "certificates": {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in certificates.glob("*")
        },
        "haproxies": agent.call("GET", "/1.0/details").json["haproxy_count"],
    }
