# SPDX-License-Identifier: Apache-2.0
"""Runs the tests in Debian trees: ``python -m tests.platforms [--sample | --part PART...] [TREE...]``.

A tree in which each part has passed gets its row in the table of the documentation; a sample tries what
differs most between versions, in a few minutes.
"""

from __future__ import annotations

import argparse
import datetime
import os
import sys

from tests.platforms.parts import SAMPLE, WHOLE, Outcome, Part, run_parts
from tests.platforms.table import write_row
from tests.platforms.trees import TREES, Tree, TreeUnavailable, prepare
from tests.support.nspawn import lab_directory


def main() -> int:
    """Return the exit status: 0 only when each tree that could be made passed."""
    names = [tree.name for tree in TREES]
    parser = argparse.ArgumentParser(prog="python -m tests.platforms", description=__doc__)
    parser.add_argument("--sample", action="store_true", help="a few tests of each tree, in minutes")
    parts = [part.name for part in WHOLE]
    parser.add_argument("--part", action="append", choices=parts, help="again, where one failed")
    parser.add_argument("tree", nargs="*", help=f"one of {', '.join(names)}; all of them if left out")
    arguments = parser.parse_args()
    if unknown := set(arguments.tree) - set(names):
        parser.error(f"unknown tree: {', '.join(sorted(unknown))}")
    if os.geteuid() != 0:
        parser.error("trees are built and entered by root only")
    wanted = [tree for tree in TREES if tree.name in (arguments.tree or names)]
    chosen = [part for part in WHOLE if part.name in (arguments.part or parts)]
    outcomes = [_outcome(tree, None if arguments.sample else chosen) for tree in wanted]
    print("\n== Platforms")
    for outcome in outcomes:
        print(outcome)
    return 0 if all(outcome.succeeded or outcome.may_be_missing for outcome in outcomes) else 1


def _outcome(tree: Tree, parts: list[Part] | None) -> Outcome:
    """Run parts in a tree, or the sample where they are None."""
    log = lab_directory() / f"platforms-{tree.name}.log"
    log.unlink(missing_ok=True)
    print(f"\n== {tree.name}: preparing; see {log}", flush=True)
    try:
        prepare(tree, log, machines=parts is not None)
    except TreeUnavailable as error:
        print(f"{tree.name} cannot be made: {error}")
        return Outcome(tree, missing=str(error).splitlines()[0])
    outcome = run_parts(tree, SAMPLE if parts is None else parts)
    if parts is not None:
        write_row(outcome, datetime.datetime.now(datetime.UTC).date())
    return outcome


if __name__ == "__main__":
    sys.exit(main())
