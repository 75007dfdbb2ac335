# SPDX-License-Identifier: Apache-2.0
"""The table "Where to look" in CONTRIBUTING.rst names what is there."""

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


def rows():
    text = (REPOSITORY / "CONTRIBUTING.rst").read_text()
    _, table, *_ = re.split(
        r"^=+  =+\n.*\n=+  =+\n|^=+  =+\n\nWhat a change needs$", text, flags=re.MULTILINE
    )
    return [re.split(r" {2,}", line, maxsplit=1) for line in table.splitlines()]


ROWS = rows()


def test_the_table_is_worth_having():
    assert len(ROWS) >= 20
    assert len({subject for subject, _ in ROWS}) == len(ROWS)


@pytest.mark.parametrize(("subject", "places"), ROWS, ids=[subject for subject, _ in ROWS])
def test_each_place_exists(subject, places):
    paths = re.findall(r"``([^`]+)``", places)
    assert paths
    assert [path for path in paths if not (REPOSITORY / path).exists()] == []
    # A directory is named as one, and holds something.
    for path in paths:
        assert path.endswith("/") == (REPOSITORY / path).is_dir()
        assert not path.endswith("/") or any(child.is_file() for child in (REPOSITORY / path).rglob("*"))
