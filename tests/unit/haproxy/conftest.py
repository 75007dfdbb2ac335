# SPDX-License-Identifier: Apache-2.0
"""Scripted haproxy sockets on real UNIX sockets."""

import contextlib
import shutil
import socket
import tempfile
import threading
from pathlib import Path

import pytest


class ScriptedSocket:
    """Answers each connection with the next of its answers, the last one for ever; records commands."""

    def __init__(self, path, answers):
        self.path = path
        self.commands = []
        self._answers = list(answers)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                command = connection.recv(4096).decode().strip()
                self.commands.append(command)
                answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
                pieces = answer(command) if callable(answer) else answer
                with contextlib.suppress(OSError):
                    for piece in [pieces] if isinstance(pieces, str) else pieces:
                        connection.sendall(piece.encode())

    def close(self):
        # Closing alone does not wake a thread that waits in accept().
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)


@pytest.fixture
def short_dir():
    """A directory whose path leaves room for the name of a UNIX socket."""
    directory = Path(tempfile.mkdtemp(prefix="amp-", dir="/tmp"))
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def scripted_socket(short_dir):
    """Make sockets that give the answers they are told to."""
    made = []

    def make(*answers, name="haproxy.sock"):
        made.append(ScriptedSocket(short_dir / name, answers))
        return made[-1]

    yield make
    for scripted in made:
        scripted.close()


@pytest.fixture
def data_dir():
    return Path(__file__).parent / "data"
