# SPDX-License-Identifier: Apache-2.0
"""Findings of the pre-flight."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class Severity(Enum):
    """Consequence of a finding."""

    #: The configuration cannot run as it is: refuse it at upload, and any start or reload.
    REFUSES = "refuses"
    #: It could not run now, which may have changed by the time of a start: report at upload, refuse a start.
    REFUSES_START = "refuses a start"
    #: It runs; for information.
    ADVISES = "advises"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    :ivar line: number of the line in the configuration; 0 when it is about all of it.
    :ivar subject: what it is about, such as ``bind 203.0.113.5:80`` or ``crt /certs/a.pem``.
    :ivar reason: for people, no full stop.
    """

    line: int
    subject: str
    reason: str
    severity: Severity = Severity.REFUSES

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line else ""
        return f"{place}{self.subject}: {self.reason}"


def refusing_upload(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return the findings for which an upload is refused."""
    return tuple(finding for finding in findings if finding.severity is Severity.REFUSES)


def refusing_start(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return the findings for which a start or a reload is refused."""
    return tuple(finding for finding in findings if finding.severity is not Severity.ADVISES)
