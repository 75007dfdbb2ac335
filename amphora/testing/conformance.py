# SPDX-License-Identifier: Apache-2.0
"""``amphora-agent-conformance``: does an installed driver keep its family's contract on this machine?

Exit status 0: every test passed; 1: at least one failed; 2: there was nothing to test, and one sentence
says why.
"""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from amphora.drivers.families import CERT_STORE, FAMILIES
from amphora.testing.conditions import memory_directory
from amphora.testing.conformance_report import Report, Unusable

#: What the parts of a suite are called on the command line, and their classes.
PARTS = {
    "contract": ("ProcessManagerContract", "CertStoreContract", "PackageManagerContract", "NetworkContract"),
    "processes": ("ProcessManagerProcessContract",),
    "traces": ("ProcessManagerTraceContract",),
    "kernel": ("NetworkKernelContract",),
}
_PASSED, _FAILED, _UNUSABLE, _INTERRUPTED = 0, 1, 2, 130
_NO_PYTEST = "the suites need pytest, which is not installed: pip install amphora-agent-testing"


def main(arguments: Sequence[str] | None = None) -> int:
    """Test one driver and print what was found; return the exit status."""
    options = _options(arguments)
    report = Report(options.family, options.name, live=not options.json)
    began = time.monotonic()
    # A command that is terminated must end what it started, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _test(options, report)
    except KeyboardInterrupt:
        print("amphora-agent-conformance: interrupted", file=sys.stderr)
        return _INTERRUPTED
    except Unusable as error:
        report.error = str(error)
        print(f"amphora-agent-conformance: {error}", file=sys.stderr)
    report.seconds = round(time.monotonic() - began, 1)
    print(report.as_json() if options.json else report.totals(), flush=True)
    if report.error:
        return _UNUSABLE
    return _FAILED if report.failed else _PASSED


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="amphora-agent-conformance",
        description="Run the contract suite of a driver family against an installed driver, on this machine.",
        epilog="Exit status: 0 all passed, 1 something failed, 2 the driver could not be tested.",
    )
    parser.add_argument("family", choices=[family.name for family in FAMILIES])
    parser.add_argument("name", help="as in [drivers]; auto tests the one that would be selected here")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of lines")
    parser.add_argument(
        "--timeout", type=_seconds, default=60.0, help="seconds that each test may take (default: 60)"
    )
    parser.add_argument("--test", action="append", default=[], help="run this test only; may be repeated")
    parser.add_argument(
        "--part", action="append", default=[], choices=PARTS, help="run this part only; may be repeated"
    )
    return parser.parse_args(arguments)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError("more than 0 and at most 3600 seconds")
    return seconds


def _test(options: argparse.Namespace, report: Report) -> None:
    if importlib.util.find_spec("pytest") is None:
        raise Unusable(_NO_PYTEST)
    from amphora.testing.conformance_run import Run, run_suite

    parent = memory_directory() if options.family == CERT_STORE.name else Path("/tmp")  # noqa: S108
    # A short path: drivers may put sockets below it.
    scratch = Path(tempfile.mkdtemp(prefix="amp-", dir=parent))
    classes = [name for part in options.part for name in PARTS[part]]
    try:
        run_suite(Run(options.family, options.name, scratch, options.timeout, options.test, classes), report)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if not (report.passed or report.failed or report.skipped):
        raise Unusable(f"the {options.family} suite has no such part")


if __name__ == "__main__":
    sys.exit(main())
