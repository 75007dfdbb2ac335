# SPDX-License-Identifier: Apache-2.0
"""Differences between desired and actual state."""

from __future__ import annotations

from collections.abc import Iterable

from webob import Request, Response

from amphora.api.extensions.operations import timestamp
from amphora.api.responses import json_response
from amphora.core.drift.drift import Drift, Finding


class DriftHandlers:
    """``/extensions/drift``."""

    def __init__(self, drift: Drift) -> None:
        self._drift = drift

    def get(self, request: Request) -> Response:
        """Return the last result; with ``now=1`` also start an observation for the next request."""
        if request.GET.get("now") == "1":
            self._drift.ask()
        result, counts = self._drift.result(), self._drift.counts()
        return json_response(
            200,
            {
                "drift": _findings(result.drift),
                "pending": _findings(result.pending),
                "unchecked": [{"object": name, "why": why} for name, why in sorted(result.unchecked.items())],
                "checked_at": None if result.checked_at is None else timestamp(result.checked_at),
                "interval": self._drift.settings.interval,
                "areas": {area.value: number for area, number in counts.drift.items()},
                "healing": {
                    group: {
                        "policy": "auto" if group in self._drift.settings.healed else "report",
                        "done": done,
                        "failed": counts.failed[group],
                    }
                    for group, done in counts.healed.items()
                },
            },
        )


def _findings(findings: Iterable[Finding]) -> list[dict[str, str]]:
    return [
        {
            "area": finding.difference.area.value,
            "object": finding.difference.subject,
            "reason": finding.difference.reason.value,
            "desired": finding.difference.desired,
            "found": finding.difference.found,
            "since": timestamp(finding.since),
        }
        for finding in findings
    ]
