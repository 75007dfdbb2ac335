# SPDX-License-Identifier: Apache-2.0
"""Metrics as Prometheus reads them (text format 0.0.4)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

COUNTER, GAUGE = "counter", "gauge"

_DESCRIPTION = str.maketrans({"\\": r"\\", "\n": r"\n"})
_LABEL = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


@dataclass(frozen=True, slots=True)
class Sample:
    """One number.

    :ivar labels: name to value; what distinguishes the sample from others of its metric.
    """

    value: float
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Metric:
    """All samples of one name.

    :ivar kind: :data:`COUNTER` or :data:`GAUGE`.
    """

    name: str
    kind: str
    description: str
    samples: tuple[Sample, ...]

    def lines(self) -> Iterator[str]:
        """Yield its lines, without line ends."""
        yield f"# HELP {self.name} {self.description.translate(_DESCRIPTION)}"
        yield f"# TYPE {self.name} {self.kind}"
        for sample in self.samples:
            yield f"{self.name}{_written(sample.labels)} {sample.value!r}"


def counter(name: str, description: str, *samples: Sample) -> Metric:
    """Return a metric that only grows while its process lives."""
    return Metric(name, COUNTER, description, samples)


def gauge(name: str, description: str, *samples: Sample) -> Metric:
    """Return a metric that comes and goes."""
    return Metric(name, GAUGE, description, samples)


def sample(value: float, **labels: str) -> Sample:
    """Return one number of a metric."""
    return Sample(value, labels)


def _written(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    pairs = (f'{name}="{value.translate(_LABEL)}"' for name, value in labels.items())
    return "{" + ",".join(pairs) + "}"
