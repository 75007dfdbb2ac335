# SPDX-License-Identifier: Apache-2.0
"""Drift: what is wanted, what is stored and what runs, compared again and again.

One light thread inspects; callers get the result of the last inspection at once. An object that is being
changed is skipped until the change has ended. What is found is inspected once more a moment later, as
processes, addresses and files come and go, and counts only if it is there again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from amphora.core.changes.locks import InstanceLocks
from amphora.core.drift.file_baseline import FileBaseline
from amphora.core.drift.inspection import Inspector
from amphora.errors import AmphoraError
from amphora.models import Difference, DriftArea

LOG = logging.getLogger(__name__)

#: What the options that allow healing are named for.
HEALING_GROUPS = ("configs", "certificates", "interfaces", "services", "vip")

#: Seconds between an inspection and the one that confirms it.
_SETTLING = 0.5
#: Seconds between two inspections that were asked for.
_CALM = 5.0
#: Seconds from one attempt to the next; doubles with each that did not help for good.
_FIRST_PAUSE = 30.0
_LONGEST_PAUSE = 3600.0


@dataclass(frozen=True, slots=True)
class DriftSettings:
    """Any of these may change while the agent runs.

    :ivar interval: seconds between two inspections; 0: there are none.
    :ivar healed: groups of :data:`HEALING_GROUPS` that are healed; all others are only reported.
    """

    interval: float = 60.0
    healed: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference.

    :ivar since: when it was first seen, seconds since the epoch.
    """

    difference: Difference
    since: float


@dataclass(frozen=True, slots=True)
class DriftCounts:
    """Numbers for metrics.

    :ivar drift: differences now, for each area, pending changes not counted.
    :ivar healed: attempts to heal that did something, since the agent began; for each group.
    :ivar failed: those that failed.
    """

    drift: Mapping[DriftArea, int]
    healed: Mapping[str, int]
    failed: Mapping[str, int]

    def __str__(self) -> str:
        """Return the differences for a log line, as in ``links 1, vip 2``; empty without any."""
        return ", ".join(f"{area.value} {number}" for area, number in self.drift.items() if number)


@dataclass(frozen=True, slots=True)
class DriftResult:
    """What the last inspection found.

    :ivar checked_at: when it ended, seconds since the epoch; None before the first.
    :ivar pending: stored and waiting for the next start or reload; no drift.
    :ivar unchecked: what could not be found out: object and why.
    """

    checked_at: float | None = None
    drift: tuple[Finding, ...] = ()
    pending: tuple[Finding, ...] = ()
    unchecked: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Attempts:
    pause: float
    last: float
    clean_since: float | None = None


class HealingLimit:
    """Spaces attempts to heal one object, so that a cause which comes again does not make a storm.

    An object counts as healed for good when it has been without drift for as long as the last pause was.

    :param first_pause: seconds.
    """

    def __init__(
        self, first_pause: float = _FIRST_PAUSE, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._first_pause = first_pause
        self._clock = clock
        self._attempts: dict[tuple[str, str], _Attempts] = {}

    def may_try(self, key: tuple[str, str]) -> bool:
        """Whether it is time for another attempt."""
        attempts = self._attempts.get(key)
        return attempts is None or self._clock() >= attempts.last + attempts.pause

    def tried(self, key: tuple[str, str]) -> None:
        """Count an attempt, successful or not."""
        former = self._attempts.get(key)
        pause = self._first_pause if former is None else min(former.pause * 2, _LONGEST_PAUSE)
        self._attempts[key] = _Attempts(pause, self._clock())

    def drifting(self, keys: frozenset[tuple[str, str]]) -> None:
        """Say which objects have drift now; all others have none."""
        now = self._clock()
        for key, attempts in list(self._attempts.items()):
            if key in keys:
                attempts.clean_since = None
            elif attempts.clean_since is None:
                attempts.clean_since = now
            elif now >= attempts.clean_since + attempts.pause:
                del self._attempts[key]


_Key = tuple[str, str]


@dataclass(slots=True)
class _Round:
    """What one inspection found so far.

    :ivar found: by the group of the inspector and the lock of the object.
    """

    found: dict[_Key, list[Difference]] = field(default_factory=dict)
    unchecked: dict[str, str] = field(default_factory=dict)


class Drift:
    """Looks for drift, remembers the last result, and heals where that is allowed.

    :param inspectors: in the order in which they heal.
    :param baseline: follows every change that the agent itself makes.
    :param under_way: returns the names of what has a change under way without a lock.
    :param settling: seconds between an inspection and the one that confirms it.
    """

    def __init__(
        self,
        inspectors: Sequence[Inspector],
        locks: InstanceLocks,
        baseline: FileBaseline,
        settings: DriftSettings,
        *,
        under_way: Callable[[], Collection[str]] = frozenset,
        limit: HealingLimit | None = None,
        settling: float = _SETTLING,
    ) -> None:
        self._inspectors = tuple(inspectors)
        self._locks = locks
        self._baseline = baseline
        self._settings = settings
        self._under_way = under_way
        self._limit = limit or HealingLimit()
        self._settling = settling
        self._result = DriftResult()
        self._healed: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._asked_at = float("-inf")
        self._reported = ""
        self._checking = threading.Lock()
        self._wake = threading.Event()
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, name="drift", daemon=True)
        locks.notify(baseline)

    @property
    def settings(self) -> DriftSettings:
        """What is in force."""
        return self._settings

    def start(self) -> None:
        """Take files as they are for the agent's own, and begin to inspect in the background. Called once."""
        for inspector in self._inspectors:
            for target in _targets(inspector):
                self._baseline.note_if_new(target)
        self._thread.start()

    def close(self) -> None:
        """End the thread, once it has finished its inspection. Safe to repeat."""
        self._ends.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join()

    def reconfigure(self, settings: DriftSettings) -> None:
        """Go on with other settings, from any thread."""
        self._settings = settings
        self._wake.set()

    def result(self) -> DriftResult:
        """Return what the last inspection found. Never waits."""
        return self._result

    def ask(self) -> None:
        """Have an inspection made soon, unless one was asked for just now or none ever is. Never waits."""
        now = time.monotonic()
        if self._settings.interval and now >= self._asked_at + _CALM:
            self._asked_at = now
            self._wake.set()

    def counts(self) -> DriftCounts:
        """Return numbers for metrics. Never waits."""
        found = Counter(finding.difference.area for finding in self._result.drift)
        return DriftCounts(
            {area: found[area] for area in DriftArea},
            {group: self._healed[group] for group in HEALING_GROUPS},
            {group: self._failed[group] for group in HEALING_GROUPS},
        )

    def check(self) -> DriftResult:
        """Inspect now, heal what may be healed, and return the result. Takes its time; one at a time."""
        with self._checking:
            former = frozenset(_identity(each.difference) for each in self._result.drift)
            taken = self._inspect_twice()
            self._publish(taken)
            self._heal(taken, former)
            return self._result

    def _run(self) -> None:
        while not self._ends.is_set():
            self._wake.clear()
            if self._settings.interval:
                try:
                    self.check()
                except Exception:
                    # Whatever it is, the next inspection may do better.
                    LOG.exception("inspection for drift failed")
            if not self._ends.is_set():
                self._wake.wait(self._settings.interval or None)

    def _inspect_twice(self) -> _Round:
        first = self._inspect((inspector, _targets(inspector)) for inspector in self._inspectors)
        suspects = [
            (inspector, [target for target in _targets(inspector) if _drifts(first, inspector, target)])
            for inspector in self._inspectors
        ]
        if not any(targets for _, targets in suspects) or self._ends.wait(self._settling):
            return first
        second = self._inspect(suspects)
        for inspector, targets in suspects:
            for target in targets:
                key = (_name(inspector), target)
                again = {_identity(each) for each in second.found.get(key, ())}
                confirmed = [each for each in first.found[key] if _identity(each) in again]
                first.found[key] = confirmed
        first.unchecked |= second.unchecked
        return first

    def _inspect(self, chosen: Iterable[tuple[Inspector, Iterable[str]]]) -> _Round:
        taken = _Round()
        for inspector, targets in chosen:
            for target in targets:
                if self._ends.is_set():
                    break
                self._baseline.note_if_new(target)
                self._inspect_one(inspector, target, taken)
        return taken

    def _inspect_one(self, inspector: Inspector, target: str, taken: _Round) -> None:
        with self._locks.observe(target) as observation:
            if observation.changed or target in self._under_way():
                return
            try:
                found = inspector.inspect(target)
            except Exception as error:
                # Even a defect in one place takes nothing from the others.
                if not isinstance(error, AmphoraError | OSError):
                    LOG.exception("inspection of %s of %s for drift failed", inspector.group, target)
                if not observation.changed:
                    taken.unchecked[f"{inspector.group} of {target}"] = str(error)
                return
        if not observation.changed and target not in self._under_way():
            taken.found[_name(inspector), target] = found

    def _publish(self, taken: _Round) -> None:
        now = time.time()
        known = {
            _identity(each.difference): each.since for each in (*self._result.drift, *self._result.pending)
        }
        found = [each for differences in taken.found.values() for each in differences]
        findings = [Finding(each, known.get(_identity(each), now)) for each in dict.fromkeys(found)]
        self._result = DriftResult(
            now,
            tuple(each for each in findings if not each.difference.reason.is_pending),
            tuple(each for each in findings if each.difference.reason.is_pending),
            taken.unchecked,
        )
        self._tell()

    def _tell(self) -> None:
        counted = str(self.counts()) or "none"
        reported, self._reported = self._reported, counted
        if counted == reported or (counted == "none" and not reported):
            return
        LOG.warning("drift: %s (before: %s)", counted, reported or "none")
        for finding in self._result.drift:
            each = finding.difference
            LOG.warning("%s: %s: %s, found: %s", each.subject, each.reason.value, each.desired, each.found)

    def _heal(self, taken: _Round, former: frozenset[object]) -> None:
        drifting = {key for key, found in taken.found.items() if any(not e.reason.is_pending for e in found)}
        self._limit.drifting(frozenset(drifting))
        touched: set[str] = set()
        for inspector in self._inspectors:
            if inspector.group not in self._settings.healed:
                continue
            for name, target in sorted(drifting):
                if name == _name(inspector) and target not in touched and not self._ends.is_set():
                    found = [each for each in taken.found[name, target] if not each.reason.is_pending]
                    # Seen twice an interval apart, so that an operator at work gets done with it.
                    lasting = [each for each in found if _identity(each) in former]
                    if lasting and self._heal_one(inspector, target, lasting):
                        touched.add(target)

    def _heal_one(self, inspector: Inspector, target: str, found: Sequence[Difference]) -> bool:
        key = (_name(inspector), target)
        with self._locks.observe(target) as observation:
            if observation.changed or target in self._under_way() or not self._limit.may_try(key):
                return False
        try:
            done = inspector.heal(target, found)
        except (AmphoraError, OSError) as error:
            self._failed[inspector.group] += 1
            self._limit.tried(key)
            LOG.error("drift of %s could not be healed: %s", target, error)
            return True
        if not done:
            return False
        self._healed[inspector.group] += 1
        self._limit.tried(key)
        what = ", ".join(reason for reason, _ in groupby(sorted(each.reason.value for each in found)))
        LOG.warning("drift of %s (%s) was healed: %s", target, what, done)
        return True


def _targets(inspector: Inspector) -> list[str]:
    try:
        return list(inspector.targets())
    except (AmphoraError, OSError) as error:
        LOG.warning("could not inspect %s for drift: %s", inspector.group, error)
        return []


def _name(inspector: Inspector) -> str:
    return type(inspector).__name__


def _drifts(taken: _Round, inspector: Inspector, target: str) -> bool:
    found = taken.found.get((_name(inspector), target), ())
    return any(not each.reason.is_pending for each in found)


def _identity(difference: Difference) -> object:
    return difference.area, difference.subject, difference.reason, _of_same_thing(difference)


def _of_same_thing(difference: Difference) -> str:
    # Addresses, routes and rules of one interface are distinguished by what is desired or found.
    if difference.area in (DriftArea.ADDRESSES, DriftArea.ROUTES, DriftArea.RULES):
        return f"{difference.desired} {difference.found}"
    return ""
