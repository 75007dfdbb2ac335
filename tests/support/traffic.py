# SPDX-License-Identifier: Apache-2.0
"""Real load, counted request by request."""

from __future__ import annotations

import http.client
import threading
import time


class Load:
    """Clients that each make one request after the other, a new connection for each.

    :param pause: seconds between two requests of a client.
    :param enter: called first in each client's thread, as to enter another network namespace.
    """

    def __init__(self, *ports, clients=4, enter=None, pause=0.0):
        self._pause = pause
        self._enter = enter or (lambda: None)
        self._ends = threading.Event()
        self.good = 0
        self.failures = []
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._run, args=(ports[number % len(ports)],))
            for number in range(clients)
        ]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        self.wait_for(20)
        return self

    def __exit__(self, *_):
        self._ends.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, more, seconds=20.0):
        """Return when so many more requests have been answered."""
        wanted, deadline = self.good + more, time.monotonic() + seconds
        while self.good < wanted and not self.failures and time.monotonic() < deadline:
            time.sleep(0.01)

    def _run(self, port):
        self._enter()
        while not self._ends.is_set():
            error = request_once(port)
            with self._lock:
                if error is None:
                    self.good += 1
                else:
                    self.failures.append((time.time(), port, error))
            self._ends.wait(self._pause)


def request_once(port, host="127.0.0.1", timeout=5.0):
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
