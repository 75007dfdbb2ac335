# SPDX-License-Identifier: Apache-2.0
"""What is not as it is to be."""

from __future__ import annotations

from collections.abc import Iterable

from webob import Request, Response

from amphora.api.extensions.times import written
from amphora.api.resource import Handler, Resource
from amphora.api.responses import json_answer
from amphora.core.drift.drift import Drift, Finding


class DriftController(Resource):
    """``/extensions/drift``."""

    def __init__(self, drift: Drift) -> None:
        self._drift = drift

    def handlers(self) -> dict[str, Handler]:
        """GET only."""
        return {"GET": self._get}

    def _get(self, request: Request) -> Response:
        if request.GET.get("now") == "1":
            # Of the look that is taken now the next answer tells; nobody waits for it here.
            self._drift.ask()
        result, counts = self._drift.result(), self._drift.counts()
        return json_answer(
            200,
            {
                "drift": _findings(result.drift),
                "pending": _findings(result.pending),
                "unchecked": [{"object": name, "why": why} for name, why in sorted(result.unchecked.items())],
                "checked_at": None if result.checked_at is None else written(result.checked_at),
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
            "since": written(finding.since),
        }
        for finding in findings
    ]
