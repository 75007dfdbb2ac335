# SPDX-License-Identifier: Apache-2.0
"""The cells of the fault matrix: every kind of change, every step of the mechanism, every fault.

Nothing is listed by hand: the steps are those of the mechanism, and a cell is left out by a rule only.
"""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass

import pytest

from amphora.core.changes.operations import BEFORE_SWAP, FROM_SWAP, UNDOING

#: In the order in which they are taken; the last two only after a failure.
STEPS = [*BEFORE_SWAP, *FROM_SWAP, *UNDOING]

FAULTS = (
    "raises",
    "raises afterwards",
    "hangs",
    "hangs afterwards",
    "killed",
    "full disk",
    "readonly disk",
    "masterless",
)

#: A step that undoes is reached by a failure of the last step before it that leads there.
LEADS_TO = {"discard": "preflight", "restore": "prove"}

#: One cell in so many is tried, unless all of them are asked for; one in so many in every run of the tests.
_TRIED, _SAMPLE = 6, 24
#: Of kinds whose cells take longer.
SMALL_SAMPLE = 96
_ALL = "AMPHORA_TEST_ALL_CELLS"


@dataclass(frozen=True)
class Kind:
    """A kind of change.

    :ivar kind: as the journal has it.
    :ivar before: the state that it begins from, where the same kind may begin from several.
    :ivar runs_before: its program runs when it begins.
    :ivar runs_after: its program runs after its step ``apply``.
    """

    family: str
    kind: str
    before: str = ""
    runs_before: bool = True
    runs_after: bool = True

    def runs_at(self, step: str) -> bool:
        """Whether a program of it is there to be killed at the beginning of a step."""
        acted = STEPS.index("apply") < STEPS.index(step) and step != "discard"
        return self.runs_after if acted else self.runs_before

    def __str__(self) -> str:
        return " ".join(filter(None, (self.family, self.kind, self.before)))


@dataclass(frozen=True)
class Cell:
    """One kind of change that meets one fault in one step."""

    kind: Kind
    step: str
    fault: str

    def __str__(self) -> str:
        return f"{self.kind}-{self.step}-{self.fault}".replace(" ", "_")

    @property
    def faults(self) -> dict[str, str]:
        """The fault of each step that meets one, on the way to the one that is meant and there."""
        first = {LEADS_TO[self.step]: "raises"} if self.step in LEADS_TO else {}
        return first | {self.step: self.fault}

    @property
    def may_fail(self) -> bool:
        """Whether what undoes it is hit itself, so that it may be neither done nor undone."""
        return self.step in LEADS_TO

    @property
    def is_of_disk(self) -> bool:
        """Whether nothing can be written from the fault on."""
        return self.fault.endswith("disk")


def _is_program_missing(cell: Cell) -> bool:
    """Where no haproxy or keepalived runs, none can be killed."""
    return cell.fault == "masterless" and not cell.kind.runs_at(cell.step)


#: The only reasons for which a cell is left out.
EXCLUSIONS = (_is_program_missing,)


def cells(*kinds: Kind) -> list[Cell]:
    """Return all cells of some kinds of change."""
    every = (Cell(kind, step, fault) for kind in kinds for step in STEPS for fault in FAULTS)
    return [cell for cell in every if not any(excluded(cell) for excluded in EXCLUSIONS)]


def parameters(*kinds: Kind, sample: int = _SAMPLE) -> list[object]:
    """Return the cells that are tried as parameters of a test; most of them are marked as slow.

    :param sample: one in so many is not; a multiple of six, so that they are among those tried.
    """
    tried = 1 if os.environ.get(_ALL) else _TRIED
    return [
        pytest.param(cell, id=str(cell), marks=() if _is_drawn(cell, sample) else pytest.mark.slow)
        for cell in cells(*kinds)
        if _is_drawn(cell, tried)
    ]


def _is_drawn(cell: Cell, one_in: int) -> bool:
    # Of one in six there is every step and every fault, as a test of the matrix sees.
    number = 5 * STEPS.index(cell.step) + FAULTS.index(cell.fault)
    return (number + zlib.crc32(str(cell.kind).encode())) % one_in == 0
