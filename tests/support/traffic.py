# SPDX-License-Identifier: Apache-2.0
"""Real members and real load on loopback, counted request by request."""

from __future__ import annotations

import http.client
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Member:
    """An HTTP server that answers every request with its name."""

    def __init__(self, name="member", address="127.0.0.1"):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Length", str(len(name)))
                self.end_headers()
                self.wfile.write(name.encode())

            def log_message(self, *_args):
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 512
            daemon_threads = True

        self._server = Server((address, 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Load:
    """Clients that each make one request after the other, a new connection for each."""

    def __init__(self, *ports, clients=4):
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
        while not self._ends.is_set():
            error = request_once(port)
            with self._lock:
                if error is None:
                    self.good += 1
                else:
                    self.failures.append((time.time(), port, error))


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
