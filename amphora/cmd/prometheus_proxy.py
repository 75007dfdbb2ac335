# SPDX-License-Identifier: Apache-2.0
"""``prometheus-proxy``: serves haproxy's metrics inside the data namespace, by the names users know.

A process of its own, since any client that can reach a PROMETHEUS listener decides how often it works.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence

from amphora.errors import OperationFailed
from amphora.prometheus.exporter import fetch
from amphora.prometheus.server import MetricsServer
from amphora.prometheus.translation import Translator, own_gauges
from amphora.system import namespaces, statistics

_USAGE = "usage: prometheus-proxy [--namespace <name>] [--port <own port>] [--exporter <haproxy's port>]"
_DEFAULTS = {"--namespace": "amphora-haproxy", "--port": "9102", "--exporter": "9101"}
_LOOPBACK = "127.0.0.1"
_TIMEOUT = 5.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM; return 0, or 1 when misused."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    given = dict(zip(words[::2], words[1::2], strict=False))
    options = _DEFAULTS | given
    numbers = (options["--port"], options["--exporter"])
    if len(words) % 2 or set(options) != set(_DEFAULTS) or not all(map(str.isdecimal, numbers)):
        print(_USAGE, file=sys.stderr)
        return 1
    _enter(options["--namespace"])
    translator, exporter = Translator(), (_LOOPBACK, int(options["--exporter"]))
    server = MetricsServer((_LOOPBACK, int(options["--port"])), lambda: _metrics(translator, exporter))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.close())
    server.serve()
    return 0


def _metrics(translator: Translator, exporter: tuple[str, int]) -> Iterator[str]:
    lines = fetch(exporter, _TIMEOUT)
    # haproxy's first, so that none at all can be distinguished from few.
    yield next(translator.lines(lines), "")
    yield from own_gauges(statistics.load_averages()[0], os.cpu_count() or 1, dict(statistics.memory()))
    yield from translator.lines(lines)


def _enter(namespace: str) -> None:
    while namespace:
        try:
            return namespaces.enter(namespace)
        except OperationFailed:
            # It comes with the first port that is plugged.
            time.sleep(1.0)
    return None


if __name__ == "__main__":
    sys.exit(main())
