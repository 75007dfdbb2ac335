# SPDX-License-Identifier: Apache-2.0
"""Services as every init system's rendering of them is compared with golden files."""

import signal
from pathlib import Path

from amphora.models import Readiness, ServiceSpec

GOLDEN = Path(__file__).parents[1] / "unit/drivers/process_manager/golden"

PLAIN = ServiceSpec("plain", "A plain service", ("/usr/sbin/plain", "-f"))

HAPROXY = ServiceSpec(
    name="haproxy-8a1b",
    description="Load balancer 8a1b",
    argv=("/usr/sbin/haproxy", "-Ws", "-f", "/var/lib/octavia/8a1b/haproxy.cfg", "-p", "/run/8a1b.pid"),
    check_argv=("/usr/sbin/haproxy", "-c", "-q", "-f", "/var/lib/octavia/8a1b/haproxy.cfg"),
    reload_signal=signal.SIGUSR2,
    pid_file=Path("/run/8a1b.pid"),
    namespace="amphora-haproxy",
    readiness=Readiness.NOTIFY,
    start_timeout=20.5,
)
