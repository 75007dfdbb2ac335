# SPDX-License-Identifier: Apache-2.0
"""The drift that an agent reports, and waiting for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from amphora.testing.agent import AgentProcess

#: Options of an agent that looks for drift all the time.
OFTEN = {"drift": {"interval": 1}}


def healing(group: str) -> dict[str, dict[str, Any]]:
    return {"drift": {"interval": 1, f"heal_{group}": "auto"}}


def reasons(answer: dict[str, Any], part: str = "drift") -> set[str]:
    return {each["reason"] for each in answer[part]}


class DriftWatch:
    """Asks one agent."""

    def __init__(self, agent: AgentProcess) -> None:
        self.agent = agent

    def now(self) -> dict[str, Any]:
        answer = self.agent.call("GET", "/extensions/drift?now=1")
        assert answer.status == 200
        found: dict[str, Any] = answer.json
        return found

    def next(self, seconds: float = 30.0) -> dict[str, Any]:
        """Return what a look that begins after this call has found."""
        answer = self.now()
        looks = [answer["checked_at"]]
        deadline = time.monotonic() + seconds
        # The first new look may have begun before.
        while len(looks) < 3:
            assert time.monotonic() < deadline, f"no look was taken: {answer}\n{self.agent.log_tail()}"
            answer = self.now()
            if answer["checked_at"] != looks[-1]:
                looks.append(answer["checked_at"])
            time.sleep(0.05)
        return answer

    def until(
        self, wanted: Callable[[dict[str, Any]], object], what: str, seconds: float = 40.0
    ) -> dict[str, Any]:
        """Return the first answer that fulfils a condition."""
        deadline = time.monotonic() + seconds
        answer = self.now()
        while not wanted(answer):
            assert time.monotonic() < deadline, f"not in time: {what}: {answer}\n{self.agent.log_tail(40)}"
            time.sleep(0.05)
            answer = self.now()
        return answer

    def told(self, reason: str, part: str = "drift") -> dict[str, Any]:
        """Wait until a reason is reported, and return the difference."""
        answer = self.until(lambda answer: reason in reasons(answer, part), reason)
        found: dict[str, Any] = next(each for each in answer[part] if each["reason"] == reason)
        return found

    def clean(self) -> dict[str, Any]:
        """Wait until no drift is reported."""
        return self.until(lambda answer: answer["checked_at"] and not answer["drift"], "there is no drift")

    def healed(self, group: str) -> dict[str, Any]:
        return self.until(
            lambda answer: answer["healing"][group]["done"] and not answer["drift"], f"{group} are healed"
        )
