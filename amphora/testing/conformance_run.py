# SPDX-License-Identifier: Apache-2.0
"""Runs the suite of an installed driver by pytest, each test in a child process.

A driver under test may hang, crash or take its process with it; the command never runs any of its code.
"""

from __future__ import annotations

import importlib.metadata
import os
import sys
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from amphora.drivers import loader
from amphora.drivers.base import Driver, DriverContext
from amphora.drivers.families import FAMILIES, NETWORK
from amphora.errors import StartupError
from amphora.system.command import CommandRunner
from amphora.testing.conformance_child import ChildLost, Progress, in_child, time_limit
from amphora.testing.conformance_reasons import BlockedTooLong, promise, reason
from amphora.testing.conformance_report import Report, Unusable

#: Seconds to import and ask a driver on a busy machine; the contract allows it about one.
_LOADING = 30.0

_CLASSES = {
    "process_manager": "TestProcessManager",
    "cert_store": "TestCertStore",
    "package_manager": "TestPackageManager",
    "network": "TestNetwork",
}
_PLUGINS = ("terminal", "cacheprovider", "faulthandler")


@dataclass(frozen=True, slots=True)
class Run:
    """What to test.

    :ivar scratch: a directory for the driver and the tests.
    :ivar timeout: seconds that each phase of a test may take.
    :ivar tests: names; empty means all.
    :ivar classes: parts of the suite; empty means all.
    """

    family: str
    name: str
    scratch: Path
    timeout: float
    tests: Sequence[str] = ()
    classes: Sequence[str] = ()

    def load(self) -> loader.Selected[Any]:
        """Find, import, build and ask the driver as the agent does.

        :raises StartupError: it cannot be used here.
        :raises BlockedTooLong: it hangs.
        """
        family = next(family for family in FAMILIES if family.name == self.family)
        with time_limit(_LOADING):
            return loader.load(family, self.name, _context(self.scratch / "load"))

    def includes(self, item: pytest.Item) -> bool:
        """Whether a test was asked for."""
        part = getattr(item, "function").__qualname__.partition(".")[0]  # noqa: B009 - pytest.Item has none
        named = not self.tests or not _names(item).isdisjoint(self.tests)
        return named and (not self.classes or part in self.classes)


@dataclass(frozen=True, slots=True)
class InstalledDriver:
    """A driver as the agent would build it.

    :ivar scratch: where directories for it are made.
    """

    driver_class: type[Driver]
    scratch: Path

    def build(self, directory: Path, namespace: str = "") -> Any:
        """Return a driver whose directories are all below this one."""
        return self.driver_class.create(_context(directory, namespace))


def run_suite(run: Run, report: Report) -> None:
    """Run the suite of a driver to its end, adding to the report.

    :raises Unusable: the driver cannot be loaded or used, or there is no such test.
    :raises KeyboardInterrupt: the command was interrupted.
    """
    try:
        found = in_child(lambda _progress: _probe(run), _LOADING)
    except ChildLost as lost:
        raise Unusable(f"{run.family} driver {run.name!r} cannot be loaded: {lost}") from None
    if "unusable" in found:
        raise Unusable(found["unusable"])
    report.loaded(**found)
    # What is installed beside pytest, or set for another project, must not change these tests.
    os.environ.pop("PYTEST_ADDOPTS", None)
    os.environ |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    sys.dont_write_bytecode = True
    settings = run.scratch / "pytest.ini"
    settings.write_text("[pytest]\n", encoding="ascii")
    # Not imported before: pytest can only rewrite the assertions of what it imports itself.
    module = f"{Path(__file__).with_name('conformance_tests.py')}::{_CLASSES[run.family]}"
    options = ["-c", str(settings), "--import-mode=importlib", "--capture=no"]
    isolation = Isolation(replace(run, name=found["name"]), report)
    status = pytest.main([*options, *(f"-pno:{name}" for name in _PLUGINS), module], plugins=[isolation])
    if status == pytest.ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    if isolation.unknown:
        raise Unusable(f"the {run.family} suite has no test {isolation.unknown!r}")


def _probe(run: Run) -> dict[str, str]:
    try:
        selected = run.load()
    except StartupError as error:
        return {"unusable": str(error)}
    except BlockedTooLong as error:
        return {"unusable": f"{run.name}: {reason(error)}"}
    if run.family == NETWORK.name and os.geteuid() != 0:
        return {"unusable": "the suite of network drivers makes network namespaces, and that needs root"}
    points = importlib.metadata.entry_points(group=f"amphora.{run.family}", name=selected.name)
    source = next((point.dist for point in points if point.dist), None)
    return {
        "name": selected.name,
        "distribution": source.metadata["Name"] if source else "",
        "version": source.version if source else "",
    }


def _context(directory: Path, namespace: str = "") -> DriverContext:
    """Return what a driver is built from, with everything below one directory."""
    return DriverContext(
        state_directory=directory / "state",
        certificate_directory=directory / "certs",
        interface_directory=directory / "interfaces",
        namespace=namespace,
        runner=CommandRunner(),
    )


class Isolation:
    """A plugin of pytest that runs each test in a child, limits each phase, and reports its result.

    :ivar unknown: a name that no test has.
    """

    def __init__(self, run: Run, report: Report) -> None:
        self._suite = run
        self._report = report
        self._driver: InstalledDriver | None = None
        self._progress: Progress = lambda _seconds: None
        self._outcome = ("passed", "")
        self.unknown = ""

    @pytest.fixture
    def installed_driver(self) -> InstalledDriver | None:
        """Give the driver to the suites."""
        return self._driver

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Keep the tests that were asked for; none if one of them does not exist."""
        known = {name for item in items for name in _names(item)}
        self.unknown = next((name for name in self._suite.tests if name not in known), "")
        items[:] = [item for item in items if not self.unknown and self._suite.includes(item)]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        """Run a test in a child, and there as pytest does."""
        if self._driver is not None:
            return None
        try:
            outcome, why = in_child(lambda progress: self._run(item, progress), _LOADING)
        except ChildLost as lost:
            outcome, why = "failed", str(lost)
        self._report.add(outcome, item.name, promise(item.name), why)
        return True

    def _run(self, item: pytest.Item, progress: Progress) -> tuple[str, str]:
        self._progress = progress
        try:
            self._driver = InstalledDriver(type(self._suite.load().driver), self._suite.scratch)
        except (StartupError, BlockedTooLong) as error:
            return "failed", reason(error, "setup")
        item.ihook.pytest_runtest_protocol(item=item, nextitem=None)
        return self._outcome

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Limit a phase of a test."""
        self._progress(self._suite.timeout)
        with time_limit(self._suite.timeout):
            return (yield)

    pytest_runtest_call = pytest_runtest_teardown = pytest_runtest_setup

    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> None:
        """Note how a phase ended; the first failure counts, and any failure more than a skip."""
        if call.excinfo is None or self._outcome[0] == "failed":
            return
        if call.excinfo.errisinstance(pytest.skip.Exception):
            self._outcome = ("skipped", str(call.excinfo.value))
        else:
            self._outcome = ("failed", reason(call.excinfo.value, call.when))


def _names(item: pytest.Item) -> set[str]:
    """Return the names of a test on the command line: with its parameters, and all of its kind."""
    return {item.name, item.name.partition("[")[0]}
