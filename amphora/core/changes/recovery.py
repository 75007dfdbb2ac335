# SPDX-License-Identifier: Apache-2.0
"""What an agent does at its start to bring back what ran, and how that went."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from amphora.errors import AmphoraError

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RecoveryStep:
    """One step that was taken.

    :ivar seconds: it took.
    :ivar problem: why it is not complete; empty when it is.
    """

    name: str
    seconds: float
    problem: str = ""


class Recovery:
    """Takes steps one after the other and keeps how each went, for the log and for the API.

    A step that fails does not keep the next from being taken: an agent that is there and says what is
    wrong is worth more than one that is not.
    """

    def __init__(self) -> None:
        self._steps: list[RecoveryStep] = []

    @property
    def steps(self) -> tuple[RecoveryStep, ...]:
        """What was done so far."""
        return tuple(self._steps)

    def take(self, name: str, step: Callable[[], object]) -> None:
        """Take one step."""
        began = time.monotonic()
        problem = ""
        try:
            step()
        except AmphoraError as error:
            problem = str(error)
            LOG.error("recovery of %s is not complete: %s", name, problem)
        seconds = round(time.monotonic() - began, 3)
        LOG.info("recovery of %s took %.3f s", name, seconds)
        self._steps.append(RecoveryStep(name, seconds, problem))
