# SPDX-License-Identifier: Apache-2.0
"""What ``amphora-agent-conformance`` found, as lines for people or as one document."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field


class Unusable(Exception):
    """The driver could not be tested; one sentence says why."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A test that failed or could not be tried.

    :ivar test: its name in the suite.
    :ivar promise: the name in words.
    :ivar reason: one line.
    """

    test: str
    promise: str
    reason: str


@dataclass(slots=True)
class Report:
    """Results of the tests of one driver.

    :ivar live: print a line as soon as a test has ended.
    :ivar skipped: tests that this user or machine cannot run.
    :ivar error: why nothing could be tested; empty when it could.
    """

    family: str
    name: str
    live: bool = False
    distribution: str = ""
    version: str = ""
    passed: list[str] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    skipped: list[Failure] = field(default_factory=list)
    seconds: float = 0.0
    error: str = ""

    def loaded(self, name: str, distribution: str, version: str) -> None:
        """Note where the driver came from."""
        if not self.distribution:
            self.name, self.distribution, self.version = name, distribution, version
            self._say(f"{self.family} driver {name} of {distribution or 'an unknown package'} {version}")

    def add(self, outcome: str, test: str, promise: str, reason: str) -> None:
        """Note how a test ended: ``passed``, ``failed`` or ``skipped``."""
        if outcome == "passed":
            self.passed.append(test)
            self._say(f"passed  {promise}")
        elif outcome == "skipped":
            self.skipped.append(Failure(test, promise, reason))
            self._say(f"skipped {promise}: {reason}")
        else:
            self.failed.append(Failure(test, promise, reason))
            self._say(f"FAILED  {promise}: {reason}")

    def totals(self) -> str:
        """Return the last line for people."""
        if self.error:
            return "nothing was tested"
        more = f", {len(self.skipped)} skipped" if self.skipped else ""
        return f"{len(self.passed)} passed, {len(self.failed)} failed{more} in {self.seconds:g} s"

    def as_json(self) -> str:
        """Return everything as one document for programs."""
        document = {key: value for key, value in asdict(self).items() if key != "live"}
        if not self.error:
            del document["error"]
        return json.dumps(document, indent=1)

    def _say(self, line: str) -> None:
        if self.live:
            print(line, flush=True)
