# SPDX-License-Identifier: Apache-2.0
"""The process in which ``amphora-agent-conformance`` runs a suite; it tells what happens line by line.

A process of its own, because a driver under test may hang, crash or take the process with it.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
import signal
import sys
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from amphora.drivers import loader
from amphora.drivers.families import FAMILIES, NETWORK
from amphora.errors import StartupError
from amphora.testing.conformance_driver import InstalledDriver, context
from amphora.testing.conformance_reasons import BlockedTooLong, promise, reason

#: Seconds between further attempts to get out of a call that blocks again while it is being left.
_AGAIN = 2.0
#: Seconds to import and ask a driver; the contract allows it about one.
_LOADING = 30.0

_CLASSES = {
    "process_manager": "TestProcessManager",
    "cert_store": "TestCertStore",
    "package_manager": "TestPackageManager",
    "network": "TestNetwork",
}


class Teller:
    """Writes one JSON document per line to a descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def tell(self, event: str, **details: object) -> None:
        """Write one line at once."""
        os.write(self._descriptor, (json.dumps({"event": event, **details}) + "\n").encode())


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise in the main thread when what is inside takes longer, whatever it waits for.

    :raises BlockedTooLong: it did.
    """

    def ring(_number: int, _frame: object) -> None:
        raise BlockedTooLong(f"blocked longer than {seconds:g} s")

    former = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)


class Watch:
    """A plugin of pytest that limits each phase of each test and tells how each test ended."""

    def __init__(self, driver: InstalledDriver, options: argparse.Namespace, teller: Teller) -> None:
        self._driver = driver
        self._options = options
        self._teller = teller
        self._outcome: tuple[str, str] = ("passed", "")

    @pytest.fixture
    def installed_driver(self) -> InstalledDriver:
        """Give the driver to the suites."""
        return self._driver

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Keep the tests that were asked for."""
        options = self._options
        known = {name for item in items for name in (item.name, item.name.partition("[")[0])}
        for name in options.test:
            if name not in known:
                self._teller.tell("unusable", reason=f"the {options.family} suite has no test {name!r}")
                items.clear()
        items[:] = [item for item in items if self._is_wanted(item)]
        self._teller.tell("collected", tests=[item.name for item in items])

    def _is_wanted(self, item: pytest.Item) -> bool:
        options, name = self._options, item.name
        named = not options.test or name in options.test or name.partition("[")[0] in options.test
        part = getattr(item, "function").__qualname__.partition(".")[0]  # noqa: B009 - pytest.Item has none
        return named and (not options.part or part in options.part) and name not in options.done

    def pytest_runtest_logstart(self, nodeid: str, location: object) -> None:
        """A test begins."""
        self._outcome = ("passed", "")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Limit what comes before a test."""
        return (yield from self._limited(item, "setup"))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Limit a test."""
        return (yield from self._limited(item, "call"))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Limit what comes after a test."""
        return (yield from self._limited(item, "teardown"))

    def _limited(self, item: pytest.Item, phase: str) -> Generator[None, Any, Any]:
        self._teller.tell("phase", test=item.name, phase=phase)
        with time_limit(self._options.timeout):
            return (yield)

    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> None:
        """Note how a phase ended; the first that went wrong counts."""
        if call.excinfo is None or self._outcome[0] == "failed":
            return
        if call.excinfo.errisinstance(pytest.skip.Exception):
            self._outcome = ("skipped", str(call.excinfo.value))
        else:
            self._outcome = ("failed", reason(call.excinfo.value, call.when))

    def pytest_runtest_logfinish(self, nodeid: str, location: tuple[str, int | None, str]) -> None:
        """A test has ended."""
        outcome, why = self._outcome
        test = location[2].partition(".")[2]
        self._teller.tell(outcome, test=test, promise=promise(test), reason=why)


def main(arguments: Sequence[str]) -> None:
    """Load the driver and run the suite; never returns."""
    options = _options(arguments)
    teller = Teller(options.descriptor)
    try:
        with time_limit(_LOADING):
            driver = _load(options, teller)
    except (StartupError, BlockedTooLong) as error:
        said = str(error) if isinstance(error, StartupError) else f"{options.name}: {reason(error)}"
        teller.tell("unusable", reason=said)
    else:
        _run_tests(driver, options, teller)
        teller.tell("ended")
    # Threads of a driver that hangs would keep a normal exit waiting.
    sys.stderr.flush()
    os._exit(0)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("family")
    parser.add_argument("name")
    parser.add_argument("scratch", type=Path)
    parser.add_argument("descriptor", type=int)
    parser.add_argument("timeout", type=float)
    for several in ("--test", "--part", "--done"):
        parser.add_argument(several, action="append", default=[])
    return parser.parse_args(arguments)


def _load(options: argparse.Namespace, teller: Teller) -> InstalledDriver:
    family = next(family for family in FAMILIES if family.name == options.family)
    selected = loader.load(family, options.name, context(options.scratch / "load"))
    points = importlib.metadata.entry_points(group=family.namespace, name=selected.name)
    source = next((point.dist for point in points if point.dist), None)
    teller.tell(
        "loaded",
        name=selected.name,
        distribution=source.metadata["Name"] if source else "",
        version=source.version if source else "",
    )
    if family is NETWORK and os.geteuid() != 0:
        raise StartupError("the suite of network drivers makes network namespaces, and that needs root")
    return InstalledDriver(type(selected.driver), options.scratch)


def _run_tests(driver: InstalledDriver, options: argparse.Namespace, teller: Teller) -> None:
    settings = options.scratch / "pytest.ini"
    settings.write_text("[pytest]\n", encoding="ascii")
    # Not imported before: pytest can only rewrite the assertions of what it imports itself.
    module = f"{Path(__file__).with_name('conformance_tests.py')}::{_CLASSES[options.family]}"
    plugins = ("terminal", "cacheprovider", "faulthandler")
    pytest.main(
        ["-c", str(settings), "--import-mode=importlib", *(f"-pno:{name}" for name in plugins), module],
        plugins=[Watch(driver, options, teller)],
    )


if __name__ == "__main__":
    main(sys.argv[1:])
