# SPDX-License-Identifier: Apache-2.0
"""Sees whether a service that is being started gets ready: runit itself knows no such thing."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from pathlib import Path

from amphora.drivers.process_manager.notify_socket import NotifySocket
from amphora.drivers.process_manager.process_handle import ProcessHandle
from amphora.errors import AmphoraError
from amphora.models import Readiness, ServiceSpec
from amphora.system.processes import identify

from amphora_runit.service_directory import ServiceDirectory

#: Seconds that a service without a report of its own must live: ``ip netns exec`` and interpreters
#: say what they cannot execute by ending.
_SETTLING_TIME = 0.2


def leave_witness(spec: ServiceSpec, directory: ServiceDirectory, socket_path: Path) -> None:
    """Fork a process that watches the caller's becoming ready; return once it listens.

    It is no child of the caller, which is about to become a service that knows all its children. It
    ends as soon as the service is ready or has ended, and kills one that is late.
    """
    runner = os.getpid()
    listens, tells = os.pipe()
    child = os.fork()
    if child == 0:
        if os.fork() == 0:
            _witness(spec, directory, socket_path, ProcessHandle(runner), tells)
        os._exit(0)
    os.waitpid(child, 0)
    os.close(tells)
    os.read(listens, 1)
    os.close(listens)


def _witness(
    spec: ServiceSpec, directory: ServiceDirectory, socket_path: Path, service: ProcessHandle, tells: int
) -> None:
    try:
        os.setsid()
        if spec.readiness is Readiness.EXEC:
            os.close(tells)
            is_ready = not service.wait(_SETTLING_TIME)
        else:
            with NotifySocket.bound_to(socket_path) as socket:
                os.close(tells)
                is_ready = await_report(service, socket, time.monotonic() + spec.start_timeout)
        runner = identify(service.pid)
        if is_ready and runner is not None:
            directory.note_ready(runner, runner)
    except AmphoraError as error:
        print(error, file=sys.stderr)
        service.send(signal.SIGKILL)
    finally:
        os._exit(0)


def await_report(service: ProcessHandle, socket: NotifySocket, deadline: float) -> bool:
    """Return whether the service said that it is ready before it ended; kill it when it is late.

    :param deadline: in the time of :func:`time.monotonic`.
    """
    status = ""
    poller = select.poll()
    for source in (service, socket):
        poller.register(source.fileno(), select.POLLIN)
    while (left := deadline - time.monotonic()) > 0:
        ready = {descriptor for descriptor, _ in poller.poll(left * 1000)}
        message = socket.receive()
        status = message.status or status
        if message.ready:
            return message.has_started
        if service.fileno() in ready:
            return False
    print(f"was not ready in time{status and ': ' + status}", file=sys.stderr, flush=True)
    service.send(signal.SIGKILL)
    return False
