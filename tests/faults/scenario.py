# SPDX-License-Identifier: Apache-2.0
"""What a cell needs to know of the change that it lets meet a fault."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path


class Scenario(ABC):
    """One change to one thing.

    :ivar kind: as the journal has it.
    :ivar target: as the journal has it.
    :ivar struck: the kind and target of the change that the fault strikes: this one, or a part of it.
    :ivar old: the states that are as before.
    :ivar new: the states that are as asked for.
    :ivar halfway: the states in which a change may be left of which it is told that it failed.
    :ivar may_fail: whether it may come to that without a fault in what undoes it.
    :ivar program: that runs of it, if any.
    :ivar pid_file: of that program.
    """

    #: Whether a failure stays told after the next start: nothing is there that would have to be put right.
    failure_stays = False
    program = ""
    pid_file = Path("/nonexistent")

    def __init__(self, rig, kind, target, old, new, halfway=()):
        self.rig = rig
        self.agent = rig.agent
        self.kind = kind.kind
        self.target = target
        self.struck = (self.kind, target)
        self.old, self.new, self.halfway = set(old), set(new), set(halfway)
        self.may_fail = bool(halfway)

    @abstractmethod
    def prepare(self):
        """Bring about the state before the change."""

    @abstractmethod
    def change(self):
        """Ask for the change, and return the answer."""

    @abstractmethod
    def state(self):
        """Return what is there and what runs."""

    def incomplete(self):
        """Return what does not fit together, while nothing is under way."""
        return []

    def repeat(self):
        """Do what a controller does that wants it still; return what is wrong with the answer."""
        answer = self.change()
        return "" if answer.status < 300 else f"repeated, it is answered {answer.status}: {answer.json}"

    @abstractmethod
    def clean(self):
        """Leave nothing to the next cell."""
