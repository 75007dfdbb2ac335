# SPDX-License-Identifier: Apache-2.0
"""The table of the documentation's page on platforms, one row for each tree, as runs write it."""

from __future__ import annotations

import csv
import datetime

from tests.platforms.parts import Outcome
from tests.platforms.trees import TREES
from tests.support.nspawn import REPOSITORY

TABLE = REPOSITORY / "doc/source/platforms_table.csv"

_HEAD = ["Tree", "haproxy", "keepalived", "Python", "systemd", "Tests passed", "Not run", "Run on"]


def write_row(outcome: Outcome, today: datetime.date) -> None:
    """Replace the row of a tree by what came of a whole run there."""
    rows = {row[0]: row for row in _rows()}
    versions = [outcome.versions[name] for name in _HEAD[1:5]]
    left_out = "; ".join(f"{each.test}: {each.reason}" for each in outcome.left_out) or "none"
    rows[outcome.tree.name] = [
        outcome.tree.name,
        *versions,
        str(outcome.passed),
        left_out,
        today.isoformat(),
    ]
    with TABLE.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_HEAD)
        writer.writerows(rows[tree.name] for tree in TREES if tree.name in rows)


def _rows() -> list[list[str]]:
    if not TABLE.exists():
        return []
    with TABLE.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))[1:]
