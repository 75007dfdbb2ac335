# SPDX-License-Identifier: Apache-2.0
"""The table of the documentation's page on platforms, one row for each tree, as runs write it."""

from __future__ import annotations

import csv
import datetime
import json

from tests.platforms.parts import WHOLE, Outcome
from tests.platforms.trees import TREES
from tests.support.nspawn import REPOSITORY, lab_directory

TABLE = REPOSITORY / "doc/source/platforms_table.csv"

_HEAD = ["Tree", "haproxy", "keepalived", "Python", "systemd", "Tests passed", "Not run", "Run on"]


def write_row(outcome: Outcome, today: datetime.date) -> None:
    """Replace the row of a tree by its latest results, once each part has passed there.

    What passed in earlier runs of single parts counts, with the date of the oldest.
    """
    kept = lab_directory() / "platforms" / f"{outcome.tree.name}.json"
    results: dict[str, list[object]] = json.loads(kept.read_text()) if kept.exists() else {}
    results |= {name: [count, today.isoformat()] for name, count in outcome.passed.items()}
    results = {name: each for name, each in results.items() if name not in outcome.broken}
    kept.write_text(json.dumps(results, indent=1), encoding="ascii")
    if any(part.name not in results for part in WHOLE):
        return
    left_out = "; ".join(f"{each.test}: {each.reason}" for each in outcome.left_out) or "none"
    counts, dates = zip(*(results[part.name] for part in WHOLE), strict=True)
    rows = {row[0]: row for row in _rows()}
    versions = [outcome.versions[name] for name in _HEAD[1:5]]
    rows[outcome.tree.name] = [outcome.tree.name, *versions, str(sum(counts)), left_out, min(dates)]
    with TABLE.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_HEAD)
        writer.writerows(rows[tree.name] for tree in TREES if tree.name in rows)


def _rows() -> list[list[str]]:
    if not TABLE.exists():
        return []
    with TABLE.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))[1:]
