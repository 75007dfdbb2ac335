# SPDX-License-Identifier: Apache-2.0
"""The heartbeat: life, states and traffic of this amphora, reported to controllers."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from amphora.errors import AmphoraError, StorageError
from amphora.health.controllers import Controllers, DatagramSender
from amphora.health.counter_deltas import CounterDeltas, CounterStore
from amphora.health.message import LARGEST_DATAGRAM, Report, encode_within, make_report
from amphora.health.readings import ListenerSource, SourceReading

LOG = logging.getLogger(__name__)

#: Seconds for each source to answer before a heartbeat is sent without the rest.
_READ_TIMEOUT = 1.0

#: Seconds between two readings; longer if a reading is expensive, but short enough that no connection to a
#: worker is closed for idleness.
_SHORTEST_WATCH, _LONGEST_WATCH = 1.0, 4.0
#: Part of one processor's time that readings may take.
_SHARE = 0.02

#: Seconds between a heartbeat and the next one that is sent early because of a change.
_CALM = 2.0

_JITTER = 0.05

#: Seconds between two heartbeats that are logged at INFO.
_REMINDER = 3600.0


@dataclass(frozen=True, slots=True)
class HeartbeatSettings:
    """Any of these may change while the heartbeat runs, but the id once there is one.

    :ivar controllers: ``address:port`` or ``name:port`` each, IPv6 addresses in brackets.
    :ivar interval: seconds between two heartbeats.
    :ivar key: shared with the controllers. It is in no log and no representation.
    :ivar amphora_id: as the controller knows this amphora. Never a guess: a controller deletes the
        machine of an amphora that it knows and has no load balancer for.
    """

    controllers: tuple[str, ...] = ()
    interval: float = 10.0
    key: str = field(default="", repr=False)
    amphora_id: str = ""

    def what_is_missing(self) -> str:
        """Return the option without which there can be no heartbeat, or an empty string."""
        if not self.controllers:
            return "[health_manager] controller_ip_port_list"
        if not self.key:
            return "[health_manager] heartbeat_key"
        return "" if self.amphora_id else "[amphora_agent] amphora_id"


class Notices:
    """Log lines about conditions that last: once when they begin, once when they end."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._said: dict[str, str] = {}

    def say(self, about: str, sentence: str, level: int = logging.WARNING) -> None:
        """Log a sentence, unless it is the last one that was logged about the same; an empty one resolves."""
        if not sentence:
            self.resolve(about)
        elif self._said.get(about) != sentence:
            self._said[about] = sentence
            self._logger.log(level, "%s: %s", about, sentence)

    def resolve(self, about: str) -> None:
        """Log that something has recovered, if it was logged before."""
        if self._said.pop(about, None) is not None:
            self._logger.info("%s: recovered", about)

    def replace(self, prefix: str, sentences: Mapping[str, str]) -> None:
        """Say these, and resolve all others that begin with the prefix."""
        wrong = {f"{prefix}{about}": sentence for about, sentence in sentences.items()}
        for about in [said for said in self._said if said.startswith(prefix) and said not in wrong]:
            self.resolve(about)
        for about, sentence in wrong.items():
            self.say(about, sentence)


class Heartbeat:
    """One thread that reads everything each second or so and sends a message each interval.

    :param sources: of listeners; the failure of one does not affect the others.
    :param is_withheld: whether no heartbeat may be sent, so that this amphora counts as dead.
    :param drift: returns the drift for the log; empty for none. It is not in the message.
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
        self._deltas = CounterDeltas()
        self._controllers = Controllers(())
        self._sender = DatagramSender()
        self._notices = Notices(LOG)
        self._sequence = 0
        self._sent: Report | None = None
        self._last_beat = self._next_beat = self._next_reminder = float("-inf")
        self._asked_for: HeartbeatSettings | None = settings
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._ends = False
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin, with a first heartbeat at once."""
        self._deltas = CounterDeltas(self._store.load())
        self._thread.start()

    def reconfigure(self, settings: HeartbeatSettings) -> None:
        """Go on with other settings; if they differ, a heartbeat goes out at once. From any thread."""
        with self._lock:
            self._asked_for = settings
        self._wake.set()

    def wake(self) -> None:
        """Read everything at once, and send what has changed. From any thread; safe to repeat."""
        self._wake.set()

    def close(self) -> None:
        """End the thread, within the time of one reading. Nothing is sent any more. Safe to repeat."""
        self._ends = True
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._controllers.close()
        self._sender.close()
        self._close_sources()

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
                    # An amphora without heartbeats would be replaced.
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
            self._close_sources()
        else:
            self._notices.resolve("heartbeat")

    def _with_former_id(self, settings: HeartbeatSettings) -> HeartbeatSettings:
        former = self._settings.amphora_id
        if former and settings.amphora_id != former:
            self._notices.say(
                "[amphora_agent] amphora_id", f"the id stays {former} until the agent is restarted"
            )
            return replace(settings, amphora_id=former)
        return settings

    def _close_sources(self) -> None:
        for source in self._sources:
            source.close()

    def _turn(self) -> None:
        """Read everything once, and send a heartbeat if it is time or if something has changed."""
        reading = self._read()
        self._notices.say("drift", self._drift())
        now = time.monotonic()
        if self._is_withheld():
            self._notices.say("heartbeat", "withheld, since keepalived should run and does not")
            return
        self._notices.resolve("heartbeat")
        report = make_report(reading.processes, self._deltas.unsent)
        is_early = self._has_changed(report) and now >= self._last_beat + min(_CALM, self._settings.interval)
        if now >= self._next_beat or is_early:
            self._beat(report, now)

    def _has_changed(self, report: Report) -> bool:
        return self._sent is not None and report.states() != self._sent.states()

    def _read(self) -> SourceReading:
        readings = []
        problems = {}
        for source in self._sources:
            try:
                readings.append(source.read(_READ_TIMEOUT))
            except (AmphoraError, OSError) as error:
                problems[type(source).__name__] = str(error)
        whole = _merged(readings)
        self._notices.replace("statistics of ", {**problems, **whole.problems})
        met_new = [self._deltas.note(process) for process in whole.processes]
        if not problems:
            self._deltas.forget(whole)
        if any(met_new):
            # What its predecessor has left unsent could not be found out later.
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
        size = f"too large, so without {left_out}" if left_out else ""
        self._notices.say("heartbeat size", size, logging.ERROR)
        if datagram is None:
            return
        if not self._send(datagram):
            # The network may still be coming up.
            self._next_beat = now + min(_CALM, interval)
            return
        self._remind(now, len(datagram))
        self._sent = report
        # Not before: what did not leave this machine has not been sent.
        self._deltas.mark_sent(report.listeners)
        self._save()

    def _remind(self, now: float, size: int) -> None:
        """Log the heartbeat that was sent, at INFO once in a while."""
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
            self._notices.resolve("sending")
            return True
        self._notices.say("sending", failure)
        return False

    def _save(self) -> None:
        try:
            self._store.save(self._deltas.entries())
            self._notices.resolve("counters")
        except StorageError as error:
            self._notices.say("counters", str(error), logging.ERROR)

    def _pause(self, began: float) -> float:
        """Return the seconds until the next reading, or heartbeat if that comes first.

        :param began: processor time of this thread.
        """
        watch = min(max((time.thread_time() - began) / _SHARE, _SHORTEST_WATCH), _LONGEST_WATCH)
        until_beat = self._next_beat - time.monotonic()
        # A heartbeat that is due already is withheld until the next reading.
        return min(watch, until_beat) if until_beat > 0 else watch


def _merged(readings: Sequence[SourceReading]) -> SourceReading:
    return SourceReading(
        tuple(process for reading in readings for process in reading.processes),
        frozenset().union(*(reading.origins for reading in readings)),
        frozenset().union(*(reading.generations for reading in readings)),
        {about: sentence for reading in readings for about, sentence in reading.problems.items()},
    )
