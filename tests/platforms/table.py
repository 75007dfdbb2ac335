# SPDX-License-Identifier: Apache-2.0
"""The table of the documentation's page on platforms, as a whole run writes it."""

from __future__ import annotations

import datetime
from collections.abc import Iterable

from tests.platforms.parts import EXCLUSIONS, Outcome
from tests.support.nspawn import REPOSITORY

TABLE = REPOSITORY / "doc/source/platforms_table.inc"

_HEAD = ("Tree", "haproxy", "keepalived", "Python", "systemd", "Tests passed", "Run on")


def write_table(outcomes: Iterable[Outcome], today: datetime.date) -> None:
    """Replace the table by what came of a whole run, with the tests that were left out and why."""
    rows: list[tuple[str, ...]] = [_HEAD]
    for outcome in outcomes:
        versions = tuple(outcome.versions[name] for name in _HEAD[1:5])
        rows.append((outcome.tree.name, *versions, str(outcome.passed), today.isoformat()))
    lines = [
        ".. written by ``tox -e platforms``; not by hand",
        "",
        ".. list-table::",
        "   :header-rows: 1",
        "",
    ]
    for row in rows:
        lines += [f"   {'* -' if index == 0 else '  -'} {cell}" for index, cell in enumerate(row)]
    lines += ["", *_left_out()]
    TABLE.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


def _left_out() -> Iterable[str]:
    if not EXCLUSIONS:
        yield "Every test of these parts was run in every tree."
    for exclusion in EXCLUSIONS:
        yield f"* ``{exclusion.test}`` was not run in {', '.join(exclusion.trees)}: {exclusion.reason}."
