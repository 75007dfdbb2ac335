# SPDX-License-Identifier: Apache-2.0
"""Fixtures for every kind of test."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples every time, in any time: what is red is red because of a change. To look for more:
# pytest --hypothesis-profile=default -m hypothesis
settings.load_profile("ci")


@pytest.fixture
def short_dir():
    """A directory whose path is short enough for Unix sockets in it, which pytest's own is not."""
    directory = Path(tempfile.mkdtemp(prefix="amp-", dir="/tmp"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def memory_dir():
    """Such a directory on tmpfs."""
    directory = Path(tempfile.mkdtemp(prefix="amp-", dir="/dev/shm"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def report(request):
    """Adds a line to what is printed after all tests."""
    return lambda line: request.node.user_properties.append(("measured", line))


@pytest.fixture
def count(request):
    """Counts a test as one of a kind; the sums are printed after all tests."""
    return lambda what, kind: request.node.user_properties.append(("counted", (what, kind)))


def pytest_terminal_summary(terminalreporter):
    reports = [each for outcome in ("passed", "failed") for each in terminalreporter.getreports(outcome)]
    lines = [line for each in reports for name, line in each.user_properties if name == "measured"]
    lines += sums(reports)
    if lines:
        terminalreporter.section("measured")
    # A test reports its properties after its call and again after its teardown.
    for line in dict.fromkeys(lines):
        terminalreporter.write_line(line)


def sums(reports):
    """Return a line for each thing that tests were counted of."""
    bad = {each.nodeid for each in reports if each.failed}
    # A test reports its properties after its call and again after its teardown.
    found = {
        (each.nodeid, *value) for each in reports for name, value in each.user_properties if name == "counted"
    }
    sums = {}
    for node, what, kind in sorted(found):
        of_kind = sums.setdefault(what, {}).setdefault(kind, [])
        of_kind.append(node not in bad)
    for what, kinds in sums.items():
        every = [each for of_kind in kinds.values() for each in of_kind]
        parts = ", ".join(f"{kind} {len(of_kind)}" for kind, of_kind in kinds.items())
        green = "all green" if all(every) else f"{every.count(False)} FAILED"
        yield f"{what}: {len(every)} cells, {green} ({parts})"
