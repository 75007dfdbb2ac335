# SPDX-License-Identifier: Apache-2.0
"""Runs the agent, and lets one step of one change meet a fault.

The directory that AMPHORA_TEST_FAULTS names may hold an order, which is read when a change begins. The
product is not touched: the changes that are handed to the mechanism are wrapped.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path

ORDER, STRUCK, FILLER = "order.json", "struck", "filler"

#: Seconds that a step which hangs may take.
_LIMIT = 0.2


class Injected(RuntimeError):
    """What a driver with a defect might raise: no error of the domain."""


class FaultyChange:
    """A change, one or more steps of which meet a fault."""

    def __init__(self, change, order, directory):
        self._change = change
        self._faults = order["faults"]
        self._order = order
        self._directory = directory

    @property
    def limits(self):
        short = {step: _LIMIT for step, fault in self._faults.items() if "hangs" in fault}
        return {**self._change.limits, **short}

    def __getattr__(self, name):
        fault = self._faults.get(name)
        if fault is None:
            return getattr(self._change, name)
        # A step that the change does not have is walked for the fault's sake: it strikes between two others.
        step = getattr(self._change, name, None) or (lambda: None)
        if fault == "hangs afterwards":
            # Here and not in the step's own thread, so that its limit can be short on a loaded machine.
            with contextlib.suppress(Exception):
                step()
            return self._hangs
        return lambda: self._meet(fault, step)

    def _meet(self, fault, step):
        if fault == "raises afterwards":
            step()
        getattr(self, "_" + fault.split()[0])()
        self._struck()
        return step()

    def _struck(self):
        (self._directory / STRUCK).touch()

    def _raises(self):
        self._struck()
        raise Injected("an injected fault")

    def _hangs(self):
        self._struck()
        threading.Event().wait()

    def _killed(self):
        self._struck()
        os.kill(os.getpid(), signal.SIGKILL)
        threading.Event().wait()

    def _full(self):
        descriptor = os.open(Path(self._order["disk"]) / FILLER, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            while True:
                os.write(descriptor, bytes(4096))
        except OSError:
            os.close(descriptor)

    def _readonly(self):
        # Laid over the disk: the disk itself cannot be remounted while a service's log is open.
        disk = self._order["disk"]
        for arguments in (["--bind", disk, disk], ["-o", "remount,bind,ro", disk]):
            subprocess.run(["mount", *arguments], check=True, timeout=10)

    def _masterless(self):
        pid = int(Path(self._order["pid_file"]).read_text().split()[0])
        with open(f"/proc/{pid}/comm") as stream:
            assert stream.read().strip() == self._order["program"]
        descriptor = os.pidfd_open(pid)
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        select.select([descriptor], [], [], 10)
        os.close(descriptor)


def interpose(operations, directory):
    """Let a class of operations wrap each change that something is ordered for."""
    plainly = operations.run

    def run(self, change, *more, **options):
        try:
            order = json.loads((directory / ORDER).read_text())
        except FileNotFoundError:
            return plainly(self, change, *more, **options)
        if (change.kind, change.target) != (order["kind"], order["target"]):
            return plainly(self, change, *more, **options)
        (directory / ORDER).unlink()
        return plainly(self, FaultyChange(change, order, directory), *more, **options)

    operations.run = run


if __name__ == "__main__":
    from amphora.cmd.agent import main
    from amphora.core.changes.operations import Operations

    interpose(Operations, Path(os.environ["AMPHORA_TEST_FAULTS"]))
    sys.exit(main())
