# SPDX-License-Identifier: Apache-2.0
"""What this amphora is."""

from __future__ import annotations

from dataclasses import dataclass

from amphora.haproxy.program import HaproxyProgram
from amphora.system import host


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """Who answers here.

    :ivar amphora_id: as the controller knows it; empty where it was not configured.
    :ivar haproxy_version: of the installed executable; empty where it is unknown.
    """

    hostname: str
    amphora_id: str
    haproxy_version: str


class Node:
    """Answers questions about the amphora as a whole."""

    def __init__(self, amphora_id: str, haproxy: HaproxyProgram) -> None:
        self._amphora_id = amphora_id
        self._haproxy = haproxy

    def info(self) -> NodeInfo:
        """Return the basic facts. Never forks and never waits."""
        return NodeInfo(host.hostname(), self._amphora_id, str(self._haproxy.version() or ""))
