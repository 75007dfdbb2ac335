# SPDX-License-Identifier: Apache-2.0
"""A server process of its own, so that its memory and its signals are nobody else's.

Usage: serve.py CERTIFICATE CLIENT_CA SETTINGS, the last as JSON. Prints its port when it is ready.
SIGHUP reads the certificate again, SIGTERM stops; the exit status is the number of requests cut off.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import ssl
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from wsgiref.types import StartResponse, WSGIEnvironment

from amphora.server.agent_server import AgentServer
from amphora.server.settings import ServerSettings
from amphora.server.tls import build_context


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer with the body's size; ``/slow`` takes as many seconds as its query says."""
    size = len(environ["wsgi.input"].read())
    if environ["PATH_INFO"] == "/slow":
        time.sleep(float(environ["QUERY_STRING"]))
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"size": size, "peer_names": environ["amphora.peer_names"]}).encode()]


def main(certificate: Path, client_ca: Path, settings: ServerSettings) -> int:
    """Serve until SIGTERM."""

    def context() -> ssl.SSLContext:
        return build_context(certificate, client_ca, ssl.TLSVersion.TLSv1_2)

    server = AgentServer(
        app,
        settings,
        context(),
        on_ready=lambda address: print(address[1], flush=True),
        signal_handlers={
            signal.SIGTERM: lambda: server.stop(),
            signal.SIGHUP: lambda: server.replace_tls_context(context()),
        },
    )
    return server.run()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    status = main(Path(sys.argv[1]), Path(sys.argv[2]), ServerSettings(**json.loads(sys.argv[3])))
    os._exit(status)
