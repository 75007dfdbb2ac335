# SPDX-License-Identifier: Apache-2.0
"""What differs between versions of haproxy. Nothing else in the agent compares version numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TypeVar

_T = TypeVar("_T")

_VERSION = re.compile(
    r"^HA-?Proxy version (?P<text>(?P<numbers>\d{1,9}(?:\.\d{1,9})+)\S*)", re.MULTILINE | re.ASCII
)
_FEATURE = re.compile(r"([+-])([A-Z0-9_]+)", re.ASCII)
_NOTIFIER = "SYSTEMD"


def _since(*version: int, source: str) -> bool:
    """Return a row of the table: True from a version on.

    :param source: where that is written, or how it was measured.
    """
    row: bool = field(default=False, metadata={"since": version, "source": source})
    return row


@dataclass(frozen=True, slots=True)
class Capabilities:
    """One haproxy executable: its version, what it was built with, and what it does by that.

    The rows that depend on the version alone are False by default, as of a version older than all of them.

    :ivar text: the version in full, ``2.6.12-1+deb12u4``.
    :ivar numbers: ``(2, 6, 12)``; a development version has two.
    :ivar features: names of what it was built with, such as ``SYSTEMD``.
    :ivar notifies: ``-Ws`` is there: the master reports by sd_notify(3) that it is ready. ``SYSTEMD`` in the
        feature list takes precedence over the version.
    :ivar bounds_drain: it knows ``hard-stop-after``.
    :ivar limits_are_strict: fewer descriptors than asked for are fatal, unless ``no strict-limits`` is set.
    :ivar reload_answers: the master CLI's ``reload`` waits for the reload and returns its result; older
        versions close the connection.
    :ivar check_is_silent: ``-c`` reports a valid file only with ``-V``.
    :ivar worker_parses: the master forks the new worker first, which then reads the configuration, so that
        the master answers, and has a worker too many, while that may still fail.
    :ivar cuts_by_default: ``mworker-max-reloads`` has a limit where the configuration sets none.
    :ivar warns_of_run_mode: ``daemon``, ``master-worker`` or ``pidfile`` in a configuration is a warning if
        it is on the command line already.
    :ivar warns_without_chroot: no ``chroot`` in the configuration is a warning.
    """

    text: str
    numbers: tuple[int, ...]
    features: frozenset[str] = frozenset()
    notifies: bool = _since(3, 0, source="-vv: -SYSTEMD where left out of 3.0, and no word of it in 3.2.26")
    bounds_drain: bool = _since(1, 8, source="configuration manual 1.8, hard-stop-after")
    limits_are_strict: bool = _since(2, 3, source="configuration manual 2.3, strict-limits")
    reload_answers: bool = _since(2, 7, source="management guide 2.7, master CLI, reload; seen on 3.0.11")
    check_is_silent: bool = _since(2, 9, source="measured: nothing printed by 3.0.11, a sentence by 2.6.12")
    worker_parses: bool = _since(3, 1, source="measured: show proc on 3.0.11 and 3.2.26 while a reload fails")
    cuts_by_default: bool = _since(3, 3, source="configuration manual 3.3, mworker-max-reloads: 50")
    warns_of_run_mode: bool = _since(
        3, 1, source="measured: pidfile on 3.2.26, not 3.0.11; all three on 3.4.7"
    )
    warns_without_chroot: bool = _since(3, 4, source="measured: a warning of 3.4.7, none of 3.2.26")

    def latest(self, values: Mapping[tuple[int, ...], _T]) -> _T:
        """Return, of values by the version that they hold from, the one for this version; else the oldest."""
        return values[max((since for since in values if since <= self.numbers), default=min(values))]

    def __str__(self) -> str:
        return self.text


def capabilities_of(
    text: str, numbers: tuple[int, ...], features: frozenset[str] = frozenset()
) -> Capabilities:
    """Return what a version does.

    :param numbers: empty where the version is unknown, as if it were older than all.
    """
    rows = {row.name: numbers >= row.metadata["since"] for row in fields(Capabilities) if row.metadata}
    return Capabilities(text, numbers, features, **rows)


def read_capabilities(output: str) -> Capabilities:
    """Read the output of ``haproxy -vv``, of any version since 1.8.

    :raises ValueError: it is not such output.
    """
    match = _VERSION.search(output)
    if match is None:
        raise ValueError(f"no version in {output[:200]!r}")
    listed = next((line for line in output.splitlines() if line.startswith("Feature list :")), "")
    signs = {name: sign == "+" for sign, name in _FEATURE.findall(listed)}
    capabilities = capabilities_of(
        match["text"],
        tuple(int(number) for number in match["numbers"].split(".")),
        frozenset(name for name, is_there in signs.items() if is_there),
    )
    return replace(capabilities, notifies=signs.get(_NOTIFIER, capabilities.notifies))
