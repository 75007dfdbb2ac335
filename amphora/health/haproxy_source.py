# SPDX-License-Identifier: Apache-2.0
"""Reads all haproxy processes side by side, in one pass, from one thread and without forking.

A worker that does not answer delays the others once, by the timeout of the caller; from then on it is
asked but not waited for until it answers again.
"""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from amphora.core.workloads.haproxy_files import HaproxyDirectory, HaproxyFiles
from amphora.errors import ControlSocketError
from amphora.haproxy.control.stats import RowKind, StatRow
from amphora.haproxy.control.worker_link import WorkerAnswer, WorkerLink
from amphora.health.readings import Counters, ListenerReading, PoolReading, ProcessReading, SourceReading

#: Seconds after which a connection without an answer is replaced, and an answer is too old to report.
#: Below the 10 s after which haproxy closes idle connections, and the interval of most heartbeats.
_GIVE_UP = 5.0


#: Part of the names that controllers give to the endpoint behind a metrics listener; it is no listener.
_INTERNAL = "prometheus"


@dataclass(slots=True, eq=False)
class _Track:
    """A link and what is known of its worker.

    :ivar answer: the last one.
    :ivar silent: it is not waited for.
    """

    origin: str
    link: WorkerLink
    answer: WorkerAnswer | None = None
    answered_at: float = 0.0
    silent: bool = False
    asked_at: float = 0.0

    @property
    def is_replaced(self) -> bool:
        return self.answer is not None and self.answer.stopping

    @property
    def is_awaited(self) -> bool:
        return self.link.is_asked and not self.silent


class HaproxySource:
    """The instances below a base path, whichever agent started them."""

    def __init__(self, directory: HaproxyDirectory, clock: Callable[[], float] = time.monotonic) -> None:
        self._directory = directory
        self._clock = clock
        self._selector = selectors.DefaultSelector()
        self._tracks: list[_Track] = []
        #: The worker last seen of each instance; a new connection may lead to the same one.
        self._generations: dict[str, str] = {}
        self._silent: set[str] = set()

    def read(self, timeout: float) -> SourceReading:
        """Return the listeners and pools of every worker that answers in time.

        :raises StorageError: the base path cannot be read.
        """
        deadline = self._clock() + timeout
        layouts = {layout.id: layout for layout in self._directory.all()}
        problems: dict[str, str] = {}
        self._tidy(layouts.keys(), problems)
        untried = set(layouts)
        self._ask(self._tracks, problems)
        self._connect(layouts, untried, problems)
        while any(track.is_awaited for track in self._tracks) and (left := deadline - self._clock()) > 0:
            self._collect(left, problems)
            self._connect(layouts, untried, problems)
        for track in self._tracks:
            if track.link.is_asked:
                self._fall_silent(track, problems)
        # By generation: while a reload is under way two links may lead to the same worker.
        processes = {answer.generation: _reading(track, answer) for track, answer in self._answers()}
        self._release()
        return SourceReading(
            tuple(processes.values()), frozenset(layouts), self._known_generations(), problems
        )

    def close(self) -> None:
        """Let every worker go. Safe to repeat."""
        for track in list(self._tracks):
            self._drop(track)

    def _tidy(self, existing: Iterable[str], problems: dict[str, str]) -> None:
        """Take late answers, and drop connections that are of no use any more."""
        kept = set(existing)
        self._collect(0, problems)
        too_old = self._clock() - _GIVE_UP
        for track in list(self._tracks):
            if track.origin not in kept or (track.link.is_asked and track.asked_at < too_old):
                self._drop(track)
        self._silent &= kept
        self._generations = {origin: name for origin, name in self._generations.items() if origin in kept}

    def _connect(self, layouts: dict[str, HaproxyFiles], untried: set[str], problems: dict[str, str]) -> None:
        """Open and ask a link for each instance that has none to its current worker, once a reading."""
        served = {track.origin for track in self._tracks if not track.is_replaced}
        for origin in sorted(untried - served):
            untried.discard(origin)
            track = self._open(layouts[origin])
            if track:
                self._ask((track,), problems)

    def _open(self, layout: HaproxyFiles) -> _Track | None:
        # A haproxy that another agent started has no other socket than the one that its controller named.
        for path in (layout.stats_socket, layout.named_socket):
            try:
                link = WorkerLink(path)
            except ControlSocketError:
                # Nothing runs here, or a worker has just ended.
                continue
            track = _Track(layout.id, link, silent=layout.id in self._silent)
            self._tracks.append(track)
            self._selector.register(link, selectors.EVENT_READ, track)
            return track
        return None

    def _ask(self, tracks: Iterable[_Track], problems: dict[str, str]) -> None:
        for track in list(tracks):
            if track.link.is_asked and track.asked_at:
                continue
            try:
                track.link.ask()
                track.asked_at = self._clock()
            except ControlSocketError as error:
                self._lose(track, error, problems)

    def _collect(self, timeout: float, problems: dict[str, str]) -> None:
        for key, _ in self._selector.select(timeout):
            track: _Track = key.data
            try:
                answer = track.link.receive()
            except ControlSocketError as error:
                self._lose(track, error, problems)
                continue
            if answer is not None:
                self._note(track, answer)

    def _note(self, track: _Track, answer: WorkerAnswer) -> None:
        track.answer = answer
        track.answered_at = self._clock()
        track.silent = False
        if not answer.stopping:
            self._silent.discard(track.origin)
            self._generations[track.origin] = answer.generation

    def _answers(self) -> Iterator[tuple[_Track, WorkerAnswer]]:
        too_old = self._clock() - _GIVE_UP
        for track in self._tracks:
            if track.answer is not None and track.answered_at >= too_old:
                yield track, track.answer

    def _fall_silent(self, track: _Track, problems: dict[str, str]) -> None:
        track.silent = True
        if not track.is_replaced:
            self._silent.add(track.origin)
            problems[track.origin] = "haproxy does not answer on its stats socket"

    def _lose(self, track: _Track, error: ControlSocketError, problems: dict[str, str]) -> None:
        # A worker that has answered before has ended; only one that never did is reported.
        if track.answer is None:
            problems[track.origin] = error.details
        self._drop(track)

    def _release(self) -> None:
        """Let replaced workers end whose last client has left: their numbers are final."""
        for track in list(self._tracks):
            if track.answer is not None and track.answer.stopping and not track.answer.connections:
                self._drop(track)

    def _known_generations(self) -> frozenset[str]:
        answers = (track.answer for track in self._tracks if track.answer is not None)
        return frozenset(answer.generation for answer in answers) | frozenset(self._generations.values())

    def _drop(self, track: _Track) -> None:
        self._selector.unregister(track.link)
        track.link.close()
        self._tracks.remove(track)


def _reading(track: _Track, answer: WorkerAnswer) -> ProcessReading:
    return ProcessReading(
        track.origin,
        answer.generation,
        listeners(answer.rows),
        () if answer.stopping else pools(answer.rows),
        replaced=answer.stopping,
    )


def listeners(rows: Iterable[StatRow]) -> tuple[ListenerReading, ...]:
    """Return every frontend but internal ones."""
    return tuple(
        ListenerReading(
            row.proxy,
            row.status,
            row.number("scur"),
            Counters(row.number("bin"), row.number("bout"), row.number("stot"), row.number("ereq")),
        )
        for row in rows
        if row.is_frontend and _INTERNAL not in row.proxy
    )


def pools(rows: Iterable[StatRow]) -> tuple[PoolReading, ...]:
    """Return every backend but internal ones, with its servers."""
    statuses: dict[str, str] = {}
    members: dict[str, dict[str, str]] = {}
    for row in rows:
        if _INTERNAL in row.proxy:
            continue
        if row.kind is RowKind.BACKEND:
            statuses[row.proxy] = row.status
        elif row.is_server:
            members.setdefault(row.proxy, {})[row.service] = _member_state(row)
    return tuple(PoolReading(name, status, members.get(name, {})) for name, status in statuses.items())


def _member_state(row: StatRow) -> str:
    # haproxy calls a server UP that gets no new clients because of its weight.
    if row.status == "UP" and row.number("weight") == 0:
        return "DRAIN"
    # "MAINT (via other/server)": receivers know the word alone.
    return row.status.partition(" (")[0]
