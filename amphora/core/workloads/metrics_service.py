# SPDX-License-Identifier: Apache-2.0
"""The service behind PROMETHEUS listeners; it runs only while a load balancer has one."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable

from amphora.core.workloads.haproxy_files import HaproxyDirectory, HaproxyFiles
from amphora.drivers.process_manager.base import ProcessManager
from amphora.errors import AmphoraError
from amphora.models import RestartPolicy, ServiceSpec, ServiceState
from amphora.system import files

LOG = logging.getLogger(__name__)

_SERVICE = "prometheus-proxy"

#: How controllers send a PROMETHEUS listener's requests on.
_SERVER = re.compile(rb"^[ \t]+server[ \t]+\S+[ \t]+127\.0\.0\.1:9102(?![0-9])", re.MULTILINE)


class MetricsService:
    """Keeps the service in step with the instances that should run.

    :param is_to_run: whether an instance should run, be it up or not.
    :param argv: serves metrics in the namespace it is started in.
    """

    def __init__(
        self,
        services: ProcessManager,
        directory: HaproxyDirectory,
        is_to_run: Callable[[HaproxyFiles], bool],
        namespace: str,
        argv: tuple[str, ...],
    ) -> None:
        self._services = services
        self._directory = directory
        self._is_to_run = is_to_run
        self._spec = ServiceSpec(
            name=_SERVICE,
            description="metrics of load balancers",
            argv=argv,
            namespace=namespace,
            restart=RestartPolicy(delay=1.0),
        )
        # Instances change side by side, and each change may be the one that needs the service or ends it.
        self._one_at_a_time = threading.Lock()

    def refresh(self) -> None:
        """Start the service if an instance needs it and it does not run, or remove it. Never fails.

        Load balancing goes on without metrics.
        """
        with self._one_at_a_time:
            try:
                self._refresh()
            except AmphoraError as error:
                LOG.error("metrics of load balancers: %s", error)

    def _refresh(self) -> None:
        state = self._services.status(_SERVICE).state
        if any(self._needs(layout) for layout in self._directory.all()):
            if state is not ServiceState.RUNNING:
                self._services.install(self._spec)
                self._services.start(_SERVICE)
        elif state is not ServiceState.ABSENT:
            self._services.remove(_SERVICE)

    def _needs(self, layout: HaproxyFiles) -> bool:
        data = files.read_if_present(layout.running) or files.read_if_present(layout.stored) or b""
        return _SERVER.search(data) is not None and self._is_to_run(layout)
