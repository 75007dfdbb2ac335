# SPDX-License-Identifier: Apache-2.0
"""The agent's own metrics, for the Prometheus of the operator.

The metrics of a PROMETHEUS listener are for the users of a load balancer, who have no access to these.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from importlib.metadata import version

from webob import Request, Response

from amphora.core.changes.journal import Operation
from amphora.core.drift.drift import Drift
from amphora.core.services import CoreServices
from amphora.core.workloads.haproxy_processes import InstanceProcesses
from amphora.prometheus.exposition import CONTENT_TYPE, Metric, counter, gauge, sample
from amphora.system.processes import OwnProcess, own_process


class MetricsHandler:
    """``/extensions/metrics``."""

    def __init__(self, core: CoreServices) -> None:
        self._core = core
        self._version = version("amphora-agent")

    def get(self, _request: Request) -> Response:
        """Return all metrics in the text format."""
        lines = [line for metric in self._metrics() for line in metric.lines()]
        response = Response(status=200, body="\n".join([*lines, ""]).encode())
        response.headers["Content-Type"] = CONTENT_TYPE
        return response

    def _metrics(self) -> Iterator[Metric]:
        core = self._core
        yield gauge(
            "amphora_agent_build_info", "Version of the agent; always 1.", sample(1, version=self._version)
        )
        yield from _of_drift(core.drift)
        yield _of_operations(core.operations.all())
        yield from _of_haproxies(core.processes.all())
        yield from _of_process(own_process())


def _of_drift(drift: Drift) -> Iterator[Metric]:
    counts, result = drift.counts(), drift.result()
    yield gauge(
        "amphora_agent_drift_differences",
        "Differences between the desired, stored and running state at the last check.",
        *(sample(number, area=area.value) for area, number in counts.drift.items()),
    )
    yield gauge(
        "amphora_agent_drift_pending",
        "Stored changes that wait for a start or reload.",
        sample(len(result.pending)),
    )
    yield gauge(
        "amphora_agent_drift_unchecked", "Objects that could not be checked.", sample(len(result.unchecked))
    )
    # Absent before the first look: 1970 would raise an alarm.
    looks = [] if result.checked_at is None else [sample(result.checked_at)]
    yield gauge(
        "amphora_agent_drift_last_look_timestamp_seconds", "When the last check for drift ended.", *looks
    )
    yield counter(
        "amphora_agent_drift_healing_attempts_total",
        "Attempts to correct drift, failed ones included.",
        *(sample(done + counts.failed[group], group=group) for group, done in counts.healed.items()),
    )
    yield counter(
        "amphora_agent_drift_healing_failures_total",
        "Failed attempts to correct drift.",
        *(sample(number, group=group) for group, number in counts.failed.items()),
    )


def _of_operations(operations: Iterable[Operation]) -> Metric:
    # The oldest are dropped, so this is not a counter.
    numbers = Counter((operation.kind, operation.state.value) for operation in operations)
    return gauge(
        "amphora_agent_operations",
        "Recent changes, by kind and state.",
        *(sample(number, kind=kind, state=state) for (kind, state), number in sorted(numbers.items())),
    )


def _of_haproxies(instances: Iterable[InstanceProcesses]) -> Iterator[Metric]:
    # Not the label "instance": Prometheus sets that on all that it scrapes.
    workers = [
        sample(number, instance_id=each.id, generation=generation)
        for each in instances
        for generation, number in (("current", int(each.worker is not None)), ("old", len(each.old_workers)))
    ]
    yield gauge(
        "amphora_agent_haproxy_workers",
        "Worker processes of haproxy: the current one, and old ones that only finish their connections.",
        *workers,
    )


def _of_process(process: OwnProcess) -> Iterator[Metric]:
    """Yield what every Prometheus client library reports of its process, under the same names."""
    yield counter(
        "process_cpu_seconds_total", "Processor time of the agent in seconds.", sample(process.cpu_seconds)
    )
    yield gauge(
        "process_resident_memory_bytes", "Resident memory of the agent in bytes.", sample(process.resident)
    )
    yield gauge(
        "process_start_time_seconds", "When the agent started, since the epoch.", sample(process.started_at)
    )
    yield gauge("process_open_fds", "Open file descriptors of the agent.", sample(process.open_files))
    yield gauge("process_max_fds", "Limit of open file descriptors.", sample(process.most_files))
    yield gauge("process_threads", "Threads of the agent.", sample(process.threads))
