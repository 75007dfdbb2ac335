# SPDX-License-Identifier: Apache-2.0
"""What one service has on disk: its spec, the two programs that runsv starts, and a few facts of its life."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from amphora.drivers.process_manager.specs import from_document, to_document
from amphora.errors import ServiceError, StorageError
from amphora.models import ServiceSpec
from amphora.system import files
from amphora.system.processes import ProcessIdentity

#: Both programs are this, so that a new spec is one atomic write and never a new program.
_PROGRAM = """\
#!/bin/sh
# Written by amphora-agent, which overwrites changes.
exec {python} -I -m amphora_runit.{module} "$@"
"""

_TAIL_SIZE = 4096
_TAIL_LINES = 20


@contextlib.contextmanager
def storage_errors() -> Iterator[None]:
    """Let trouble with files leave a process manager as what its contract names."""
    try:
        yield
    except StorageError as error:
        raise ServiceError(error.details) from error


class ServiceDirectory:
    """One service's files. Each is replaced whole, so that a crash leaves the former or the new one.

    :ivar output: what the service printed since it was last started.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.output = path / "output"
        self._spec, self._down = path / "service.json", path / "down"
        self._ready, self._error, self._crashes = path / "ready", path / "last-error", path / "crashes"

    def spec(self) -> ServiceSpec | None:
        """Return the spec, or None when no such service is installed.

        :raises ServiceError: it is there but cannot be read.
        """
        with storage_errors():
            data = files.read_if_present(self._spec)
        try:
            return None if data is None else from_document(json.loads(data))
        except (ValueError, KeyError, TypeError) as error:
            raise ServiceError(f"{self._spec} is damaged") from error

    def write(self, spec: ServiceSpec) -> None:
        """Store a spec and what runsv needs; what is there already stays untouched. Safe to repeat.

        The spec comes last: a directory without it is no service.

        :raises ServiceError: the former spec, if any, is still in force.
        """
        with storage_errors():
            files.ensure_directory(self.path, 0o700)
            if files.read_if_present(self._spec) is None:
                files.write_atomically(self._down, b"")
            for module in ("run", "finish"):
                program = _PROGRAM.format(python=sys.executable, module=module)
                _write_if_changed(self.path / module, program.encode(), 0o755)
            _write_if_changed(self._spec, json.dumps(to_document(spec), indent=1).encode(), 0o600)

    def remove(self) -> None:
        """Remove it all; the spec goes first. Safe to repeat.

        :raises ServiceError: something is still there.
        """
        with storage_errors():
            files.remove(self._spec)
            files.remove_tree(self.path)

    def is_wanted(self) -> bool:
        """Whether it was started and not stopped since: runsv starts it after a boot."""
        return not self._down.exists()

    def want(self, wanted: bool) -> None:
        """Remember across a boot whether it shall run. Safe to repeat."""
        with storage_errors():
            if wanted:
                files.remove(self._down)
            else:
                files.write_atomically(self._down, b"")

    def begin_run(self) -> None:
        """Forget that a former process was ready."""
        with storage_errors():
            files.remove(self._ready)

    def note_ready(self, runner: ProcessIdentity, main: ProcessIdentity) -> None:
        """Remember that what runsv started is ready, and which process does the work."""
        numbers = (runner.pid, runner.start_ticks, main.pid, main.start_ticks)
        with storage_errors():
            files.write_atomically(self._ready, " ".join(map(str, numbers)).encode())

    def ready_main(self, runner: ProcessIdentity) -> ProcessIdentity | None:
        """Return the main process of what runsv started; None before it is ready and after its end."""
        with storage_errors():
            stored = files.read_if_present(self._ready) or b""
        try:
            numbers = [int(number) for number in stored.split()]
        except ValueError:
            return None
        if len(numbers) != 4 or numbers[:2] != [runner.pid, runner.start_ticks]:
            return None
        main = ProcessIdentity(*numbers[2:])
        return main if main.is_alive() else None

    def ran_for(self) -> float:
        """Return the seconds since it was last ready; none if it never was."""
        with contextlib.suppress(FileNotFoundError):
            return time.time() - self._ready.stat().st_mtime
        return 0.0

    def last_error(self) -> str:
        """Return why it last ended; empty when nothing is known."""
        with storage_errors():
            return (files.read_if_present(self._error) or b"").decode("utf-8", "replace")

    def note_end(self, error: str, crashes: int) -> None:
        """Remember how it ended and how many times in a row it has."""
        with storage_errors():
            files.write_atomically(self._crashes, str(crashes).encode())
            files.write_atomically(self._error, error.encode("utf-8", "replace"))

    def crashes(self) -> int:
        """Return how many times in a row it has ended by itself."""
        with storage_errors():
            return int(files.read_if_present(self._crashes) or 0)

    def forget_ends(self) -> None:
        """Begin anew: no error, no crashes, nothing ready. Safe to repeat."""
        with storage_errors():
            for path in (self._error, self._crashes, self._ready):
                files.remove(path)

    def output_size(self) -> int:
        """Return how many bytes the service has printed since it was last started."""
        with contextlib.suppress(OSError):
            return self.output.stat().st_size
        return 0

    def tail(self, passed: int = 0) -> str:
        """Return the last lines the service printed; empty if there are none.

        :param passed: bytes at the beginning that are left out.
        """
        with contextlib.suppress(OSError), self.output.open("rb") as stream:
            size = stream.seek(0, 2)
            # Smaller than it was: the service was started again meanwhile.
            stream.seek(max(passed if passed <= size else 0, size - _TAIL_SIZE))
            text = stream.read(_TAIL_SIZE).decode("utf-8", "replace")
            return "\n".join(text.strip().splitlines()[-_TAIL_LINES:])
        return ""


def _write_if_changed(path: Path, data: bytes, mode: int) -> None:
    if files.read_if_present(path) != data:
        files.write_atomically(path, data, mode)
