# SPDX-License-Identifier: Apache-2.0
"""A controller of Octavia that a test tells what to do."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.interop.environments import HERE, interpreter

#: Kind of controller to its environment and its script.
_KINDS = {
    "newest": ("newest", "discovering.py"),
    "zed": ("legacy", "discovering.py"),
    "legacy": ("legacy", "remembering.py"),
}


class DriverFailed(Exception):
    """The driver raised an error.

    :ivar kind: name of its class.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind


@dataclass(frozen=True)
class Request:
    """One request that a driver has made.

    :ivar path: with the leading slash, and without the host.
    """

    method: str
    path: str
    content_type: str
    body: bytes
    status: int


class Controller:
    """Octavia's driver in a process of its own; its methods are those of ``controller/process.py``.

    :param kind: ``newest``; ``zed``, which is older and asks which API an amphora has; ``legacy``, which
        is the same and takes the amphora for one that has API 0.5 only.
    :param settings: group to option to value of its configuration, and ``amphora`` as its database has it.
    :param log: receives what it logs.
    """

    def __init__(self, kind: str, settings: dict[str, Any], log: Path) -> None:
        self.log = log
        environment, script = _KINDS[kind]
        with log.open("ab") as sink:
            self._process = subprocess.Popen(
                [str(interpreter(environment)), "-W", "ignore", str(HERE / "controller" / script)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=sink,
                text=True,
                env={"PATH": os.environ["PATH"], "HOME": "/root", "PYTHONDONTWRITEBYTECODE": "1"},
            )
        self._exchange(settings)

    def __getattr__(self, name: str) -> Any:
        return lambda **parameters: self._exchange([name, parameters])

    def made(self) -> list[Request]:
        """Return the requests made since the last time this was asked."""
        return [
            Request(**each | {"body": base64.b64decode(each["body"])})
            for each in self._exchange(["requests", {}])
        ]

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        self._process.kill()
        self._process.wait(10)
        self._process.stdout.close()

    def _exchange(self, message: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise DriverFailed("ended", self.log.read_text()[-4000:])
        answer = json.loads(line)
        if "error" in answer:
            raise DriverFailed(answer["error"], answer["message"])
        return answer["result"]
