# SPDX-License-Identifier: Apache-2.0
"""Real load, counted request by request."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable
from typing import Self


class Load:
    """Clients that each make one request after the other, a new connection for each.

    :param pause: seconds between two requests of a client.
    :param enter: called first in each client's thread, as to enter another network namespace.
    """

    def __init__(
        self, *ports: int, clients: int = 4, enter: Callable[[], object] | None = None, pause: float = 0.0
    ) -> None:
        self._pause = pause
        self._enter = enter or (lambda: None)
        self._ends = threading.Event()
        self.good = 0
        self.failures: list[tuple[float, int, str]] = []
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._run, args=(ports[number % len(ports)],))
            for number in range(clients)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        self.wait_for(20)
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, more: int, seconds: float = 20.0) -> None:
        """Return when so many more requests have been answered."""
        wanted, deadline = self.good + more, time.monotonic() + seconds
        while self.good < wanted and not self.failures and time.monotonic() < deadline:
            time.sleep(0.01)

    def _run(self, port: int) -> None:
        self._enter()
        while not self._ends.is_set():
            error = request_once(port)
            with self._lock:
                if error is None:
                    self.good += 1
                else:
                    self.failures.append((time.time(), port, error))
            self._ends.wait(self._pause)


def request_once(port: int, host: str = "127.0.0.1", timeout: float = 5.0) -> str | None:
    """Make one request on a new connection; return None if it was answered 200, else what went wrong."""
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.request("GET", "/", headers={"Connection": "close"})
        response = connection.getresponse()
        response.read()
        return None if response.status == 200 else f"status {response.status}"
    except (OSError, http.client.HTTPException) as error:
        return repr(error)
    finally:
        connection.close()
