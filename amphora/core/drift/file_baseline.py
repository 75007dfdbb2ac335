# SPDX-License-Identifier: Apache-2.0
"""Distinguishes files that the agent has changed from those that were changed externally."""

from __future__ import annotations

import hashlib
import stat
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from amphora.errors import StorageError
from amphora.system import files


@dataclass(frozen=True, slots=True)
class _Entry:
    """A file at one moment.

    :ivar signature: the same as long as it is untouched: its number, and times that include the change
        time, which cannot be set from outside.
    :ivar digest: of its content.
    """

    signature: tuple[int, ...]
    digest: bytes


_Entries = Mapping[Path, _Entry]


class FileBaseline:
    """Remembers what files were like at the end of the agent's last change to what they belong to.

    A file that was changed externally stays so through changes of the agent's that leave it alone.

    In memory only: what was changed while no agent ran is taken as it is found. A record on disk could be
    older than the files after a crash, and would then accuse the agent's own changes.

    :param directories_of: returns where the files of an instance are, or of what else has a lock.
    """

    def __init__(self, directories_of: Callable[[str], Sequence[Path]]) -> None:
        self._directories_of = directories_of
        self._guard = threading.Lock()
        self._known: dict[str, _Entries] = {}
        self._before: dict[str, _Entries] = {}

    def begins(self, name: str) -> None:
        """Look at every file of a name before the agent changes some. Never raises."""
        found = self._read(name)
        with self._guard:
            self._before[name] = found
            self._known.setdefault(name, found)

    def ends(self, name: str) -> None:
        """Take every file of a name that has changed since the change began as it is now. Never raises."""
        now = self._read(name)
        exists = any(each.is_dir() for each in self._directories_of(name))
        with self._guard:
            before, known = self._before.pop(name, {}), self._known.pop(name, {})
            if exists:
                paths = {*before, *known, *now}
                kept = {path: known if _same(before.get(path), now.get(path)) else now for path in paths}
                self._known[name] = {path: of[path] for path, of in kept.items() if path in of}

    def note_if_new(self, name: str) -> None:
        """Take every file of a name as it is, unless something was noted of it before."""
        with self._guard:
            if name in self._known:
                return
        found = self._read(name)
        with self._guard:
            self._known.setdefault(name, found)

    def adopt(self, name: str, path: Path) -> None:
        """Take one file as it is now."""
        now = _entry(path, None)
        with self._guard:
            known = dict(self._known.get(name, {}))
            known.pop(path, None)
            self._known[name] = known if now is None else {**known, path: now}

    def modified_externally(self, name: str, path: Path) -> bool:
        """Whether a file is not as the agent left it: changed, made or removed externally.

        Of files elsewhere, and of names that nothing was ever noted of, nothing is known.
        """
        if path.parent not in self._directories_of(name):
            return False
        with self._guard:
            known = self._known.get(name)
        if known is None:
            return False
        former = known.get(path)
        now = _entry(path, former)
        if former is None or now is None:
            return former is not now
        return now.digest != former.digest

    def names(self) -> list[str]:
        """Return all names that something was noted of and that the agent has not removed itself."""
        with self._guard:
            return list(self._known)

    def removed(self, name: str) -> list[Path]:
        """Return the files that the agent left and that were removed externally."""
        with self._guard:
            known = self._known.get(name, {})
        return [path for path in known if not path.is_file()]

    def _read(self, name: str) -> _Entries:
        with self._guard:
            former = self._known.get(name, {})
        paths = _paths(self._directories_of(name))
        return {path: entry for path in paths if (entry := _entry(path, former.get(path))) is not None}


def _same(one: _Entry | None, other: _Entry | None) -> bool:
    """Whether a file was neither written nor replaced; giving it another name as well is neither."""
    if one is None or other is None:
        return one is other
    return one.signature[0] == other.signature[0] and one.digest == other.digest


def _paths(directories: Sequence[Path]) -> list[Path]:
    found = []
    for directory in directories:
        try:
            found += [directory / name for name in files.file_names(directory)]
        except StorageError:
            # What cannot be read is not known, and is not reported.
            continue
    return found


def _entry(path: Path, former: _Entry | None) -> _Entry | None:
    """Return what a file is like now; it is not read again if it is untouched."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return None
        signature = (status.st_ino, status.st_ctime_ns, status.st_mtime_ns, status.st_size)
        if former is not None and former.signature == signature:
            return former
        return _Entry(signature, hashlib.sha256(path.read_bytes()).digest())
    except OSError:
        return None
