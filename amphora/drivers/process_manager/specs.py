# SPDX-License-Identifier: Apache-2.0
"""Service specifications as the drivers of this family check and store them, and files that carry them."""

from __future__ import annotations

import json
import re
import signal
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from amphora.drivers.process_manager.service_errors import as_service_error
from amphora.errors import ServiceError
from amphora.models import Readiness, RestartPolicy, ServiceSpec
from amphora.system import files

#: In each file written here. A file without it belongs to another program, and is never changed.
MARK = "# Written by amphora-agent, which overwrites changes."

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# What systemd refuses in the value of a variable, so that a spec means the same to every driver.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def is_service_name(name: str) -> bool:
    """Whether a service can have this name; it is then safe as a file name too."""
    return _NAME.fullmatch(name) is not None


def check_spec(spec: ServiceSpec) -> None:
    """Refuse a spec that not every driver could carry out faithfully.

    :raises ServiceError: names the service and what is wrong with it.
    """
    if not is_service_name(spec.name):
        raise ServiceError(f"{spec.name!r} cannot be the name of a service")
    problem = _problem(spec)
    if problem:
        raise ServiceError(f"service {spec.name} cannot be installed: {problem}")


def _problem(spec: ServiceSpec) -> str:
    for argv in filter(None, (spec.argv or ("",), spec.check_argv)):
        if not Path(argv[0]).is_absolute():
            return f"{argv[0]!r} is not an absolute path"
        if any(not _is_text(argument) for argument in argv):
            return "an argument holds a NUL or is not valid Unicode"
    if spec.namespace and not is_service_name(spec.namespace):
        return f"{spec.namespace!r} cannot be the name of a network namespace"
    for name, value in spec.environment.items():
        if not _VARIABLE.fullmatch(name) or _CONTROL.search(value) or not _is_text(value):
            return f"{name!r} cannot be an environment variable with this value"
    if spec.pid_file is None:
        return "it forks but names no pid file" if spec.readiness is Readiness.FORKING else ""
    path = str(spec.pid_file)
    # It stands unquoted at the end of a line in unit files.
    usable = spec.pid_file.is_absolute() and path == path.strip().rstrip("\\") and path.isprintable()
    return "" if usable else f"{path!r} cannot be a pid file"


def _is_text(value: str) -> bool:
    """Whether it can be an argument of a process and stand in a UTF-8 file."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return "\0" not in value


def to_document(spec: ServiceSpec) -> dict[str, Any]:
    """Return the spec as plain values for JSON; :func:`from_document` is the inverse."""
    return {
        "name": spec.name,
        "description": spec.description,
        "argv": list(spec.argv),
        "check_argv": list(spec.check_argv),
        "reload_signal": spec.reload_signal.name,
        "pid_file": None if spec.pid_file is None else str(spec.pid_file),
        "namespace": spec.namespace,
        "environment": dict(spec.environment),
        "restart": {
            "on_crash": spec.restart.on_crash,
            "delay": spec.restart.delay,
            "max_delay": spec.restart.max_delay,
        },
        "readiness": spec.readiness.value,
        "start_timeout": spec.start_timeout,
        "stop_timeout": spec.stop_timeout,
    }


def from_document(document: dict[str, Any]) -> ServiceSpec:
    """Return the spec that :func:`to_document` wrote.

    :raises KeyError, TypeError, ValueError: the document is not one of a spec.
    """
    pid_file = document["pid_file"]
    return ServiceSpec(
        name=document["name"],
        description=document["description"],
        argv=tuple(document["argv"]),
        check_argv=tuple(document["check_argv"]),
        reload_signal=signal.Signals[document["reload_signal"]],
        pid_file=None if pid_file is None else Path(pid_file),
        namespace=document["namespace"],
        environment=MappingProxyType(dict(document["environment"])),
        restart=RestartPolicy(**document["restart"]),
        readiness=Readiness(document["readiness"]),
        start_timeout=float(document["start_timeout"]),
        stop_timeout=float(document["stop_timeout"]),
    )


@dataclass(frozen=True, slots=True)
class SpecFormat:
    """Where such a file carries the spec.

    :ivar kind: what it is called: ``unit``.
    :ivar header: what each file of the agent begins with.
    :ivar prefix: what the line with the spec begins with. The last such line counts: a word of the command
        may look like it, but comes before.
    """

    kind: str
    header: str
    prefix: str

    def line(self, spec: ServiceSpec) -> str:
        """Return the line with the spec; equal specs give equal lines."""
        return self.prefix + json.dumps(to_document(spec), sort_keys=True)

    def is_ours(self, content: bytes | None) -> bool:
        """Whether a file was written by the agent; False if there is none."""
        return content is not None and content.startswith(self.header.encode())

    def read(self, text: str) -> ServiceSpec | None:
        """Return the spec that a file carries, or None if it belongs to another program.

        :raises ServiceError: it is ours but damaged.
        """
        if not text.startswith(self.header):
            return None
        line = text.rpartition(f"\n{self.prefix}")[2].partition("\n")[0]
        try:
            return from_document(json.loads(line))
        except (ValueError, KeyError, TypeError) as error:
            raise ServiceError(f"the {self.kind} of a service is damaged: its spec cannot be read") from error

    @as_service_error()
    def read_own(self, path: Path) -> bytes | None:
        """Return the content of a file, or None if there is none.

        :raises ServiceError: it cannot be read, or belongs to another program.
        """
        content = files.read_if_present(path)
        if content is not None and not self.is_ours(content):
            raise ServiceError(f"{path} exists and was not written by amphora-agent")
        return content


class SpecFiles:
    """One file for each service in a directory of the init system.

    Names whose file belongs to another program are unknown here.

    :param suffix: of file names, with its dot.
    :param mode: permission bits of the files.
    """

    def __init__(self, directory: Path, suffix: str, file_format: SpecFormat, mode: int = 0o644) -> None:
        self.directory = directory
        self._suffix = suffix
        self._format = file_format
        self._mode = mode

    def path(self, name: str) -> Path:
        """Return where the file of a service is or would be."""
        return self.directory / f"{name}{self._suffix}"

    @as_service_error()
    def names(self) -> list[str]:
        """Return the names of all services that have a file, damaged ones included, sorted.

        :raises ServiceError: the directory or a file cannot be read.
        """
        found = (name for name in files.file_names(self.directory) if name.endswith(self._suffix))
        names = (name.removesuffix(self._suffix) for name in found)
        return [name for name in names if is_service_name(name) and self._format.is_ours(self.read(name))]

    @as_service_error()
    def read(self, name: str) -> bytes | None:
        """Return the content of a service's file, by any program; None if there is none.

        :raises ServiceError: it cannot be read.
        """
        return files.read_if_present(self.path(name))

    def read_own(self, name: str) -> bytes | None:
        """Like :meth:`read`, but refuse a file of another program.

        :raises ServiceError: it cannot be read, or belongs to another program.
        """
        return self._format.read_own(self.path(name))

    def spec(self, name: str) -> ServiceSpec | None:
        """Return the spec of a service, or None if there is no such service.

        :raises ServiceError: its file is damaged or cannot be read.
        """
        content = self.read(name) if is_service_name(name) else None
        return None if content is None else self._format.read(content.decode("utf-8", "replace"))

    def required(self, name: str) -> ServiceSpec:
        """Like :meth:`spec`, for a service that must be there.

        :raises ServiceError: it is not installed, or as :meth:`spec`.
        """
        spec = self.spec(name)
        if spec is None:
            raise ServiceError(f"service {name} is not installed")
        return spec

    @as_service_error()
    def write(self, name: str, content: bytes | None) -> None:
        """Replace the file of a service, or remove it given None; safe to repeat.

        :raises ServiceError: nothing was changed.
        """
        if content is None:
            files.remove(self.path(name))
        else:
            files.write_atomically(self.path(name), content, self._mode)

    @as_service_error()
    def sweep(self) -> None:
        """Remove what interrupted writes left. Called while nothing is written.

        :raises ServiceError: something cannot be removed.
        """
        files.sweep_temporaries(self.directory)
