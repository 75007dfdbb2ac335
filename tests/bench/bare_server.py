# SPDX-License-Identifier: Apache-2.0
"""The agent's server around the smallest possible application, for comparison."""

import ssl
import sys
from pathlib import Path

from amphora.server.agent_server import AgentServer
from amphora.server.settings import ServerSettings
from amphora.server.tls import build_context


def application(_environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "3")])
    return [b"OK\n"]


if __name__ == "__main__":
    certificate, client_ca, port = sys.argv[1:]
    AgentServer(
        application,
        ServerSettings("127.0.0.1", int(port)),
        build_context(Path(certificate), Path(client_ca), ssl.TLSVersion.TLSv1_2),
        on_ready=lambda _address: print("ready", flush=True),
    ).run()
