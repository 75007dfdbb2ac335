# SPDX-License-Identifier: Apache-2.0
"""The heartbeat: tells controllers that this amphora lives, what state everything is in, and its traffic."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from amphora.errors import AmphoraError, StorageError
from amphora.health.controllers import Controllers
from amphora.health.counter_deltas import Ledger
from amphora.health.counter_store import CounterStore
from amphora.health.message import LARGEST_DATAGRAM, Report, encode_within, make_report
from amphora.health.notices import Notices
from amphora.health.readings import ListenerSource, SourceReading
from amphora.health.sender import DatagramSender
from amphora.health.settings import HeartbeatSettings

LOG = logging.getLogger(__name__)

#: Seconds that everything together may take to answer before a heartbeat goes without the rest.
_PATIENCE = 1.0

#: Seconds between two looks at what has changed; longer where a look is dear, but soon enough that no
#: connection to a worker is closed for idleness.
_SHORTEST_WATCH, _LONGEST_WATCH = 1.0, 4.0
#: Part of one processor's time that looking may take.
_SHARE = 0.02

#: Seconds between a heartbeat and the next one that goes early because of a change.
_CALM = 2.0

_JITTER = 0.05

#: Seconds between two heartbeats that are told in an ordinary log.
_REMINDER = 3600.0


class Heartbeat:
    """One thread, asleep but for a look each second or so and a message each interval.

    :param sources: what knows listeners; one that fails takes nothing from the others.
    :param is_withheld: whether this amphora has to look dead.
    :param drift: says what has come apart, for the log; empty: nothing has. The message does not tell.
    """

    def __init__(
        self,
        settings: HeartbeatSettings,
        sources: Sequence[ListenerSource],
        store: CounterStore,
        is_withheld: Callable[[], bool],
        drift: Callable[[], str] = str,
    ) -> None:
        self._settings = HeartbeatSettings()
        self._sources = sources
        self._store = store
        self._is_withheld = is_withheld
        self._drift = drift
        self._ledger = Ledger()
        self._controllers = Controllers(())
        self._sender = DatagramSender()
        self._notices = Notices(LOG)
        self._sequence = 0
        self._told: Report | None = None
        self._last_beat = self._next_beat = self._next_reminder = float("-inf")
        self._asked_for: HeartbeatSettings | None = settings
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._ends = False
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin, with a first heartbeat at once."""
        self._ledger = Ledger(self._store.load())
        self._thread.start()

    def reconfigure(self, settings: HeartbeatSettings) -> None:
        """Go on with other settings; where they differ, a heartbeat goes out at once. From any thread."""
        with self._lock:
            self._asked_for = settings
        self._wake.set()

    def look(self) -> None:
        """Look at once for what has changed, and tell it. From any thread; safe to repeat."""
        self._wake.set()

    def close(self) -> None:
        """End the thread, within the time of one look. Nothing is told any more. Safe to repeat."""
        self._ends = True
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._controllers.close()
        self._sender.close()
        for source in self._sources:
            source.close()

    def _run(self) -> None:
        while not self._ends:
            self._wake.clear()
            self._adopt()
            pause = None
            if not self._settings.what_is_missing():
                began = time.thread_time()
                try:
                    self._turn()
                except Exception:
                    # Whatever it is, an amphora that falls silent over it would be replaced.
                    LOG.exception("a heartbeat failed")
                pause = self._pause(began)
            self._wake.wait(pause)

    def _adopt(self) -> None:
        with self._lock:
            settings, self._asked_for = self._asked_for, None
        if settings is None:
            return
        settings = self._with_former_id(settings)
        if settings.controllers != self._settings.controllers:
            self._controllers.close()
            self._controllers = Controllers(settings.controllers)
        if settings != self._settings:
            self._next_beat = float("-inf")
        self._settings = settings
        if missing := settings.what_is_missing():
            self._notices.say("heartbeat", f"none is sent, since {missing} is not set")
            self._let_go()
        else:
            self._notices.settle("heartbeat")

    def _with_former_id(self, settings: HeartbeatSettings) -> HeartbeatSettings:
        former = self._settings.amphora_id
        if former and settings.amphora_id != former:
            self._notices.say(
                "[amphora_agent] amphora_id", f"the id stays {former} until the agent is restarted"
            )
            return replace(settings, amphora_id=former)
        return settings

    def _let_go(self) -> None:
        for source in self._sources:
            source.close()

    def _turn(self) -> None:
        """Read everything once, and send a heartbeat if it is time or if something has changed."""
        reading = self._read()
        if drift := self._drift():
            self._notices.say("drift", drift)
        else:
            self._notices.settle("drift")
        now = time.monotonic()
        if self._is_withheld():
            self._notices.say("heartbeat", "withheld, since keepalived should run and does not")
            return
        self._notices.settle("heartbeat")
        report = make_report(reading.processes, self._ledger.owed)
        is_early = self._has_changed(report) and now >= self._last_beat + min(_CALM, self._settings.interval)
        if now >= self._next_beat or is_early:
            self._beat(report, now)

    def _has_changed(self, report: Report) -> bool:
        return self._told is not None and report.states() != self._told.states()

    def _read(self) -> SourceReading:
        readings = []
        problems = {}
        for source in self._sources:
            try:
                readings.append(source.read(_PATIENCE))
            except (AmphoraError, OSError) as error:
                problems[type(source).__name__] = str(error)
        whole = _merged(readings)
        self._notices.replace("statistics of ", {**problems, **whole.problems})
        met_new = [self._ledger.note(process) for process in whole.processes]
        if not problems:
            self._ledger.forget(whole)
        if any(met_new):
            # Later nobody could tell what its predecessor has left owing.
            self._save()
        return whole

    def _beat(self, report: Report, now: float) -> None:
        interval = self._settings.interval
        self._last_beat = now
        self._next_beat = now + interval * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311
        datagram, left_out = encode_within(
            LARGEST_DATAGRAM, self._settings.amphora_id, self._sequence, report, self._settings.key
        )
        self._sequence += 1
        if left_out:
            self._notices.say("heartbeat size", f"too large, so without {left_out}", logging.ERROR)
        else:
            self._notices.settle("heartbeat size")
        if datagram is None:
            return
        if not self._send(datagram):
            # The network may still be coming up.
            self._next_beat = now + min(_CALM, interval)
            return
        self._remind(now, len(datagram))
        self._told = report
        # Not before: what did not leave this machine has been told to nobody.
        self._ledger.settle(report.listeners)
        self._save()

    def _remind(self, now: float, size: int) -> None:
        """Log the heartbeat that was sent; most of them for those only who ask for every detail."""
        level, number = logging.DEBUG, self._sequence - 1
        if now >= self._next_reminder:
            level, self._next_reminder = logging.INFO, now + _REMINDER
        LOG.log(level, "heartbeat %d sent, %d bytes; drift: %s", number, size, self._drift() or "none")

    def _send(self, datagram: bytes) -> bool:
        """Send to the controller whose turn it is, or else to the next that can be reached from here."""
        failure = "no controller has a usable address"
        for _ in range(len(self._controllers)):
            destination = self._controllers.following()
            if destination is None:
                break
            try:
                self._sender.send(datagram, destination)
            except OSError as error:
                failure = f"{destination.address[0]}: {error.strerror or error}"
                continue
            self._notices.settle("sending")
            return True
        self._notices.say("sending", failure)
        return False

    def _save(self) -> None:
        try:
            self._store.save(self._ledger.entries())
            self._notices.settle("counters")
        except StorageError as error:
            self._notices.say("counters", str(error), logging.ERROR)

    def _pause(self, began: float) -> float:
        """Return the seconds until the next look, or heartbeat if that comes first.

        :param began: processor time of this thread.
        """
        watch = min(max((time.thread_time() - began) / _SHARE, _SHORTEST_WATCH), _LONGEST_WATCH)
        until_beat = self._next_beat - time.monotonic()
        # A heartbeat that is due already is withheld, and waits for the next look.
        return min(watch, until_beat) if until_beat > 0 else watch


def _merged(readings: Sequence[SourceReading]) -> SourceReading:
    return SourceReading(
        tuple(process for reading in readings for process in reading.processes),
        frozenset().union(*(reading.origins for reading in readings)),
        frozenset().union(*(reading.generations for reading in readings)),
        {about: sentence for reading in readings for about, sentence in reading.problems.items()},
    )
