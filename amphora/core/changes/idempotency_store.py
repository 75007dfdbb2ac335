# SPDX-License-Identifier: Apache-2.0
"""Final answers to requests that their callers gave a key, so that a repetition is answered and not done.

They survive the agent: each is a small file that is named by its key's digest. Neither the key nor the
request is stored, only digests of them; answers hold no secrets.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from amphora.errors import Busy, KeyReused, StorageError
from amphora.system import files

LOG = logging.getLogger(__name__)

#: Keys that are remembered at most, and for how many seconds.
CAPACITY, LIFETIME = 256, 24 * 60 * 60.0

_NAME = re.compile(r"[0-9a-f]{64}")

#: What reading a file raises that is damaged, whatever its bytes.
_UNREADABLE = (
    StorageError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answer:
    """What a caller was told.

    :ivar is_final: the same request again could get no other answer; else it is worth doing anew.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    is_final: bool = True


@dataclass(frozen=True, slots=True)
class _Record:
    request: str
    answer: Answer
    moment: float


class _Attempt:
    def __init__(self, request: str) -> None:
        self.request = request
        self.ended = threading.Event()
        self.answer: Answer | None = None
        self.error: BaseException | None = None

    def outcome(self) -> Answer:
        if self.answer is None:
            raise self.error or AssertionError("asked before the end")
        return self.answer


class Answered:
    """Does each request with a key once, for whoever sends it and however often.

    :param directory: of the files; made when the first answer is stored.
    :param patience: seconds to wait for a first try that still runs.
    :param now: returns seconds since the epoch, as answers outlive the machine's uptime.
    """

    def __init__(
        self, directory: Path, *, patience: float = 600.0, now: Callable[[], float] = time.time
    ) -> None:
        self._directory = directory
        self._patience = patience
        self._now = now
        self._guard = threading.Lock()
        # Held while files change, so that memory and disk forget the same.
        self._storing = threading.Lock()
        self._records: OrderedDict[str, _Record] = OrderedDict()
        self._under_way: dict[str, _Attempt] = {}

    def recover(self) -> None:
        """Read what an earlier agent has answered; what cannot be read is removed. Called once, at start.

        :raises StorageError: the directory cannot be read.
        """
        files.sweep_temporaries(self._directory)
        names = filter(_NAME.fullmatch, files.file_names(self._directory))
        found = {name: self._read(name) for name in names}
        with self._storing:
            known = [(name, record) for name, record in found.items() if record is not None]
            with self._guard:
                self._records = OrderedDict(sorted(known, key=lambda each: each[1].moment))
            self._forget({name for name, record in found.items() if record is None})

    def once(self, key: str, request: str, work: Callable[[], Answer]) -> Answer:
        """Return the answer to a request: the stored one, that of a try under way, or a new one.

        :param key: chosen by the caller for this request.
        :param request: a digest of all that makes the request what it is.
        :param work: does it. It may raise; whoever waits for it gets that too.
        :raises KeyReused: the key was given to another request.
        :raises Busy: the first try has not ended in time.
        """
        name = hashlib.sha256(key.encode()).hexdigest()
        with self._guard:
            record = self._records.get(name)
            is_first = name not in self._under_way
            if is_first and record is not None and self._is_fresh(record):
                _require_same(record.request, request)
                return record.answer
            attempt = self._under_way.setdefault(name, _Attempt(request))
        if is_first:
            return self._attempt(name, attempt, work)
        _require_same(attempt.request, request)
        if not attempt.ended.wait(self._patience):
            raise Busy("The first request with this key is still being carried out; try again later")
        return attempt.outcome()

    def _attempt(self, name: str, attempt: _Attempt, work: Callable[[], Answer]) -> Answer:
        try:
            attempt.answer = work()
            if attempt.answer.is_final:
                self._store(name, _Record(attempt.request, attempt.answer, self._now()))
        except BaseException as error:
            attempt.error = error
            raise
        finally:
            with self._guard:
                del self._under_way[name]
            attempt.ended.set()
        return attempt.answer

    def _store(self, name: str, record: _Record) -> None:
        with self._storing:
            try:
                files.ensure_directory(self._directory, 0o700)
                files.write_atomically(self._directory / name, _written(record))
            except StorageError as error:
                # What was asked for is done; a repetition is recognised until the agent ends.
                LOG.warning("an answer is remembered in memory only: %s", error)
            with self._guard:
                self._records[name] = record
                self._records.move_to_end(name)
            self._forget(set())

    def _forget(self, names: set[str]) -> None:
        with self._guard:
            surplus = list(self._records)[: max(0, len(self._records) - CAPACITY)]
            old = (name for name, record in self._records.items() if not self._is_fresh(record))
            forgotten = names.union(surplus, old)
            for name in forgotten:
                self._records.pop(name, None)
        for name in forgotten:
            try:
                files.remove(self._directory / name)
            except StorageError as error:
                LOG.warning("an old answer stays: %s", error)

    def _is_fresh(self, record: _Record) -> bool:
        # A clock that was ahead and was set back must not make answers last for ever.
        return abs(self._now() - record.moment) < LIFETIME

    def _read(self, name: str) -> _Record | None:
        try:
            return _parsed(files.read_if_present(self._directory / name) or b"")
        except _UNREADABLE as error:
            LOG.warning("the stored answer %s cannot be used and is forgotten: %s", name, error)
            return None


def _require_same(known: str, request: str) -> None:
    if known != request:
        raise KeyReused("This key belongs to a request with another method, path or body")


def _written(record: _Record) -> bytes:
    answer = record.answer
    document = {
        "request": record.request,
        "moment": record.moment,
        "status": answer.status,
        "headers": answer.headers,
        # Each byte is one character, so that any body comes back as it was.
        "body": answer.body.decode("latin-1"),
    }
    return json.dumps(document).encode()


def _parsed(data: bytes) -> _Record:
    document = json.loads(data)
    headers = tuple((str(name), str(value)) for name, value in document["headers"])
    answer = Answer(int(document["status"]), headers, document["body"].encode("latin-1"))
    if not 200 <= answer.status < 500:
        raise ValueError(f"{answer.status} is no status of a final answer")
    return _Record(str(document["request"]), answer, float(document["moment"]))
