# SPDX-License-Identifier: Apache-2.0
"""Final responses to requests with an idempotency key, so that a retry is answered and not carried out.

They survive a restart: each is a small file named by its key's digest. Neither the key nor the request is
stored, only digests of them; responses hold no secrets.
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

#: Keys stored at most, and for how many seconds.
CAPACITY, LIFETIME = 256, 24 * 60 * 60.0

_NAME = re.compile(r"[0-9a-f]{64}")

#: What reading a damaged file raises, with any content.
_UNREADABLE = (
    StorageError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A response to a request with a key.

    :ivar is_final: a retry could get no other response; else a retry is carried out.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    is_final: bool = True


@dataclass(frozen=True, slots=True)
class _Record:
    request: str
    response: StoredResponse
    moment: float


class _Attempt:
    def __init__(self, request: str) -> None:
        self.request = request
        self.done = threading.Event()
        self.response: StoredResponse | None = None
        self.error: BaseException | None = None

    def result(self) -> StoredResponse:
        if self.response is None:
            raise self.error or AssertionError("asked before the end")
        return self.response


class IdempotencyStore:
    """Carries out each request with a key once, however often it is sent.

    :param directory: of the files; made when the first response is stored.
    :param timeout: seconds to wait for a first attempt that still runs.
    :param now: returns seconds since the epoch, as responses outlive the machine's uptime.
    """

    def __init__(
        self, directory: Path, *, timeout: float = 600.0, now: Callable[[], float] = time.time
    ) -> None:
        self._directory = directory
        self._timeout = timeout
        self._now = now
        self._guard = threading.Lock()
        # Held while files change, so that memory and disk drop the same records.
        self._storing = threading.Lock()
        self._records: OrderedDict[str, _Record] = OrderedDict()
        self._running: dict[str, _Attempt] = {}

    def recover(self) -> None:
        """Read the records of an earlier agent; remove those that cannot be read. Called once, at start.

        :raises StorageError: the directory cannot be read.
        """
        files.sweep_temporaries(self._directory)
        names = filter(_NAME.fullmatch, files.file_names(self._directory))
        found = {name: self._read(name) for name in names}
        with self._storing:
            known = [(name, record) for name, record in found.items() if record is not None]
            with self._guard:
                self._records = OrderedDict(sorted(known, key=lambda each: each[1].moment))
            self._drop({name for name, record in found.items() if record is None})

    def once(self, key: str, request: str, work: Callable[[], StoredResponse]) -> StoredResponse:
        """Return the response to a request: the stored one, that of a running attempt, or a new one.

        :param key: chosen by the caller for this request.
        :param request: a digest of all that makes the request what it is.
        :param work: carries it out. What it raises is raised for every caller that waits for it.
        :raises KeyReused: the key was given to another request.
        :raises Busy: timed out waiting for the first attempt.
        """
        name = hashlib.sha256(key.encode()).hexdigest()
        with self._guard:
            record = self._records.get(name)
            is_first = name not in self._running
            if is_first and record is not None and self._is_fresh(record):
                _require_same(record.request, request)
                return record.response
            attempt = self._running.setdefault(name, _Attempt(request))
        if is_first:
            return self._attempt(name, attempt, work)
        _require_same(attempt.request, request)
        if not attempt.done.wait(self._timeout):
            raise Busy("The first request with this key is still being carried out; try again later")
        return attempt.result()

    def _attempt(self, name: str, attempt: _Attempt, work: Callable[[], StoredResponse]) -> StoredResponse:
        try:
            attempt.response = work()
            if attempt.response.is_final:
                self._store(name, _Record(attempt.request, attempt.response, self._now()))
        except BaseException as error:
            attempt.error = error
            raise
        finally:
            with self._guard:
                del self._running[name]
            attempt.done.set()
        return attempt.response

    def _store(self, name: str, record: _Record) -> None:
        with self._storing:
            try:
                files.ensure_directory(self._directory, 0o700)
                files.write_atomically(self._directory / name, _serialized(record))
            except StorageError as error:
                # The request has been carried out; a retry is recognised until the agent ends.
                LOG.warning("could not store an idempotency record, kept in memory only: %s", error)
            with self._guard:
                self._records[name] = record
                self._records.move_to_end(name)
            self._drop(set())

    def _drop(self, names: set[str]) -> None:
        with self._guard:
            surplus = list(self._records)[: max(0, len(self._records) - CAPACITY)]
            expired = (name for name, record in self._records.items() if not self._is_fresh(record))
            dropped = names.union(surplus, expired)
            for name in dropped:
                self._records.pop(name, None)
        for name in dropped:
            try:
                files.remove(self._directory / name)
            except StorageError as error:
                LOG.warning("could not delete an expired idempotency record: %s", error)

    def _is_fresh(self, record: _Record) -> bool:
        # A clock that was ahead and was set back must not make records last for ever.
        return abs(self._now() - record.moment) < LIFETIME

    def _read(self, name: str) -> _Record | None:
        try:
            return _parsed(files.read_if_present(self._directory / name) or b"")
        except _UNREADABLE as error:
            LOG.warning("deleting an unreadable idempotency record %s: %s", name, error)
            return None


def _require_same(known: str, request: str) -> None:
    if known != request:
        raise KeyReused("This key belongs to a request with another method, path or body")


def _serialized(record: _Record) -> bytes:
    response = record.response
    document = {
        "request": record.request,
        "moment": record.moment,
        "status": response.status,
        "headers": response.headers,
        # Each byte is one character, so that any body comes back as it was.
        "body": response.body.decode("latin-1"),
    }
    return json.dumps(document).encode()


def _parsed(data: bytes) -> _Record:
    document = json.loads(data)
    headers = tuple((str(name), str(value)) for name, value in document["headers"])
    response = StoredResponse(int(document["status"]), headers, document["body"].encode("latin-1"))
    if not 200 <= response.status < 500:
        raise ValueError(f"{response.status} is not the status of a final response")
    return _Record(str(document["request"]), response, float(document["moment"]))
