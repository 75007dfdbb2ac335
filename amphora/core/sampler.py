# SPDX-License-Identifier: Apache-2.0
"""Rates over the last half minute, from one light thread."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from amphora.errors import AmphoraError
from amphora.system import namespaces, statistics
from amphora.system.statistics import CpuTimes, Traffic

LOG = logging.getLogger(__name__)

WINDOW = 30.0
_INTERVAL = 5.0


@dataclass(frozen=True, slots=True)
class Sample:
    """All counters at one moment.

    :ivar at: seconds of a monotonic clock.
    :ivar traffic: by interface of the data namespace, without the loopback.
    """

    at: float
    cpu: CpuTimes
    traffic: Mapping[str, Traffic]


@dataclass(frozen=True, slots=True)
class CpuShares:
    """Fractions of all CPUs' time, 0 to 1.

    :ivar total: of everything that is not idle time.
    """

    total: float
    user: float
    system: float
    soft_irq: float


@dataclass(frozen=True, slots=True)
class Rates:
    """What went on in the window.

    :ivar traffic: bytes per second by interface.
    """

    cpu: CpuShares
    traffic: Mapping[str, Traffic]


def take_sample(namespace: str) -> Sample:
    """Read all counters; network counters are those of the namespace, none if it does not exist."""
    try:
        counters = namespaces.call_inside(namespace, statistics.traffic)
    except AmphoraError:
        counters = {}
    without_loopback = {name: counter for name, counter in counters.items() if name != "lo"}
    return Sample(time.monotonic(), statistics.cpu_times(), without_loopback)


def rates_between(first: Sample, last: Sample) -> Rates:
    """Return the rates between two samples. Counters that went back, as after a plug, count from zero."""
    seconds = max(last.at - first.at, 0.001)
    ticks = max(last.cpu.total - first.cpu.total, 1)

    def share(name: str) -> float:
        spent: int = getattr(last.cpu, name) - getattr(first.cpu, name)
        return round(min(max(spent / ticks, 0.0), 1.0), 4)

    idle = max(last.cpu.idle - first.cpu.idle, 0)
    zero = Traffic(0, 0)
    return Rates(
        CpuShares(round(max(1 - idle / ticks, 0.0), 4), share("user"), share("system"), share("soft_irq")),
        {name: _rate(first.traffic.get(name, zero), now, seconds) for name, now in last.traffic.items()},
    )


def _rate(before: Traffic, now: Traffic, seconds: float) -> Traffic:
    received = now.received - before.received if now.received >= before.received else now.received
    sent = now.sent - before.sent if now.sent >= before.sent else now.sent
    return Traffic(round(received / seconds), round(sent / seconds))


class Sampler:
    """Keeps the samples of the last window. Reading never waits."""

    def __init__(self, sample: Callable[[], Sample], interval: float = _INTERVAL) -> None:
        self._sample = sample
        self._interval = interval
        self._samples: deque[Sample] = deque(maxlen=int(WINDOW / interval) + 1)
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)

    def start(self) -> None:
        """Take the first sample and go on in the background."""
        self._samples.append(self._sample())
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._ends.set()
        if self._thread.ident is not None:
            self._thread.join()

    def rates(self) -> Rates:
        """Return the rates over the last window, or over what there is of it yet."""
        now = self._sample()
        # A copy, since the thread may add one meanwhile.
        samples = tuple(self._samples)
        return rates_between(samples[0] if samples else now, now)

    def now(self) -> Sample:
        """Return all counters as they are at this moment."""
        return self._sample()

    def _run(self) -> None:
        while not self._ends.wait(self._interval):
            try:
                self._samples.append(self._sample())
            except OSError as error:
                LOG.warning("counters could not be read: %s", error)
