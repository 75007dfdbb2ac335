# SPDX-License-Identifier: Apache-2.0
"""Service specifications as the drivers of this family check and store them."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from types import MappingProxyType
from typing import Any

from amphora.errors import ServiceError
from amphora.models import Readiness, RestartPolicy, ServiceSpec

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
