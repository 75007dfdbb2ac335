# SPDX-License-Identifier: Apache-2.0
"""Files that are always whole: each write is atomic and durable, each removal may be repeated.

A crash at any instant leaves the old version or the new one, and at worst a temporary file whose
name :func:`sweep_temporaries` recognises.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import socket
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from amphora.errors import Busy, StorageError

_TEMPORARY_PREFIX = ".amphora-tmp-"
_MISSING = (FileNotFoundError, NotADirectoryError)

#: Seconds between two tries of a lock that another process holds.
_LOCK_INTERVAL = 0.05


@contextlib.contextmanager
def _storage_errors(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"{what}: {error.strerror}") from error


def write_atomically(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace a file by new content: temporary file beside it, fsync, rename, fsync of the directory.

    :param mode: permission bits, applied regardless of the umask and the former file's mode.
    :raises StorageError: nothing was changed.
    """
    temporary = path.with_name(f"{_TEMPORARY_PREFIX}{secrets.token_hex(8)}")
    with _storage_errors(f"{path} could not be written"):
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                os.fchmod(stream.fileno(), mode)
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            os.rename(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        _sync_directory(path.parent)


def append_durably(path: Path, data: bytes) -> None:
    """Add to the end of a file that is there. A crash may leave the data torn, never what was before it.

    :raises StorageError: some or none of the data was added.
    """
    with _storage_errors(f"{path} could not be written"):
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            if os.write(descriptor, data) != len(data):
                raise StorageError(f"{path} could not be written: no space left on device")
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)


def rename(source: Path, target: Path) -> None:
    """Rename within one file system and make it durable.

    :raises StorageError: nothing was changed.
    """
    with _storage_errors(f"{source} could not be renamed to {target.name}"):
        os.rename(source, target)
        _sync_directory(target.parent)


def link(source: Path, target: Path) -> bool:
    """Give a file a second name, replacing what stands there, durably; it takes no room of its own.

    :returns: False if there is no such file; then there is nothing under the second name either.
    :raises StorageError: what stood under the second name may be gone.
    """
    remove(target)
    what = f"{source} could not be linked to {target}"
    with _storage_errors(what), contextlib.suppress(FileNotFoundError):
        os.link(source, target)
        _sync_directory(target.parent)
        return True
    return False


def date_like(path: Path, model: Path) -> None:
    """Give a file the times of another one.

    :raises StorageError: one of them is missing, or the times cannot be set.
    """
    with _storage_errors(f"{path} could not be dated like {model}"):
        status = model.stat()
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def read_if_present(path: Path) -> bytes | None:
    """Return the content of a file, or None when there is none.

    :raises StorageError: it is there but cannot be read.
    """
    with _storage_errors(f"{path} could not be read"), contextlib.suppress(*_MISSING):
        return path.read_bytes()
    return None


def mode_of(path: Path) -> int | None:
    """Return the permission bits of a file, or None when there is none.

    :raises StorageError: they cannot be read.
    """
    with _storage_errors(f"{path} could not be read"), contextlib.suppress(*_MISSING):
        return stat.S_IMODE(os.stat(path).st_mode)
    return None


def identity(path: Path) -> tuple[int, ...] | None:
    """Return what identifies this version of a file or directory, or None if there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def remove(path: Path) -> bool:
    """Remove a file or socket if it is there, durably; return whether it was there.

    :raises StorageError: it is there and cannot be removed.
    """
    if not os.path.lexists(path):
        # Else a file system that is read-only would refuse to remove nothing.
        return False
    with _storage_errors(f"{path} could not be removed"), contextlib.suppress(*_MISSING):
        os.unlink(path)
        _sync_directory(path.parent)
        return True
    return False


def remove_tree(path: Path) -> bool:
    """Remove a directory with all in it if it is there, durably; return whether it was there.

    It is renamed first, so that no reader sees half of it.

    :raises StorageError: it cannot be removed.
    """
    doomed = path.with_name(f"{_TEMPORARY_PREFIX}{secrets.token_hex(8)}")
    with _storage_errors(f"{path} could not be removed"), contextlib.suppress(*_MISSING):
        os.rename(path, doomed)
        _sync_directory(path.parent)
        shutil.rmtree(doomed)
        return True
    return False


def ensure_directory(path: Path, mode: int = 0o755) -> None:
    """Make a directory and its parents if they are missing; an existing one keeps its mode.

    :raises StorageError: it could not be made.
    """
    with _storage_errors(f"directory {path} could not be made"):
        if path.is_dir():
            return
        ensure_directory(path.parent)
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, mode)
            os.chmod(path, mode)
            _sync_directory(path.parent)


def require_room_for_sockets(directory: Path) -> None:
    """Return if a UNIX socket can be bound in a directory now.

    :raises StorageError: it cannot, as where the file system is read-only.
    """
    path = directory / f"{_TEMPORARY_PREFIX}s"
    remove(path)
    with _storage_errors(f"no socket can be bound in {directory}"):
        with socket.socket(socket.AF_UNIX) as probe:
            probe.bind(str(path))
        os.unlink(path)


def open_fifo(path: Path) -> int:
    """Return a descriptor of a fifo (fifo(7)) for non-blocking reading, made if it is missing.

    It is open for writing too, so that it never comes to its end when a writer does. What stands there
    and is no fifo is removed.

    :raises StorageError: it cannot be made or opened.
    """
    with _storage_errors(f"{path} cannot be used as a fifo"):
        if not path.is_fifo() or path.is_symlink():
            path.unlink(missing_ok=True)
            os.mkfifo(path, 0o600)
        return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)


@contextlib.contextmanager
def exclusive_lock(path: Path, timeout: float, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Exclude other processes and threads that take the same lock from a ``with`` block (flock(2)).

    It ends with the process, however that ends. The file is made with mode 0600 and stays: in a directory
    that only root can write, no other user can open it and hold the lock.

    :param timeout: seconds to wait for another holder.
    :param on_wait: called before each new try; what it raises ends the wait.
    :raises Busy: another process held it for longer.
    :raises StorageError: the file cannot be made.
    """
    ensure_directory(path.parent)
    with _storage_errors(f"{path} could not be made"):
        # Read only: a lock needs no more, and must be possible when nothing can be written any more.
        descriptor = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        deadline = time.monotonic() + timeout
        while not _flock(descriptor):
            on_wait()
            if time.monotonic() >= deadline:
                raise Busy(f"{path} was held by another process for {timeout:g} s; try again later")
            time.sleep(_LOCK_INTERVAL)
        yield
    finally:
        os.close(descriptor)


def _flock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def sweep_temporaries(directory: Path) -> list[str]:
    """Remove what an interrupted write left directly in a directory; return the names removed.

    Call it only while nothing writes there.

    :raises StorageError: something cannot be removed.
    """
    swept = []
    for entry in _entries(directory):
        if entry.name.startswith(_TEMPORARY_PREFIX):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                remove(Path(entry.path))
            swept.append(entry.name)
    return swept


def is_empty_directory(path: Path) -> bool:
    """Whether a directory is there and holds nothing.

    :raises StorageError: it cannot be read.
    """
    return path.is_dir() and not _entries(path)


def subdirectories(directory: Path) -> list[str]:
    """Return the names of the directories directly in a directory, sorted; none if it is missing."""
    return sorted(entry.name for entry in _entries(directory) if entry.is_dir(follow_symlinks=False))


def file_names(directory: Path) -> list[str]:
    """Return the names of the regular files directly in a directory, sorted; none if it is missing."""
    return sorted(entry.name for entry in _entries(directory) if entry.is_file(follow_symlinks=False))


def make_durable(directory: Path) -> None:
    """Make changes by another program to the names in a directory durable; a missing directory is fine.

    :raises StorageError: it is not known to be durable.
    """
    with _storage_errors(f"{directory} could not be made durable"), contextlib.suppress(FileNotFoundError):
        _sync_directory(directory)


def _entries(directory: Path) -> list[os.DirEntry[str]]:
    what = f"{directory} could not be read"
    with _storage_errors(what), contextlib.suppress(*_MISSING), os.scandir(directory) as entries:
        return list(entries)
    return []


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
