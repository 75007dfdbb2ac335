# SPDX-License-Identifier: Apache-2.0
"""Loads the drivers that configuration names, and shows them all as a table."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, TypeVar

from oslo_config import cfg

from amphora.cmd.paths import Paths
from amphora.drivers import families, loader
from amphora.drivers.base import Driver, DriverContext
from amphora.drivers.cert_store.base import CertStore
from amphora.drivers.network.base import NetworkDriver
from amphora.drivers.network.unavailable import UnavailableNetwork
from amphora.drivers.package_manager.base import PackageManager
from amphora.drivers.process_manager.base import ProcessManager
from amphora.errors import DriverUnavailable, StartupError
from amphora.system.command import CommandRunner

LOG = logging.getLogger(__name__)

D = TypeVar("D", bound=Driver)
S = TypeVar("S")

_INTERFACES = "/etc/octavia/interfaces"

_HEADINGS = ("FAMILY", "NAME", "FROM", "SELECTED", "AVAILABLE")


@dataclass(frozen=True, slots=True)
class Drivers:
    """The driver in use of each family; there may be none for a machine's packages."""

    process_manager: ProcessManager
    cert_store: CertStore
    package_manager: PackageManager | None
    network: NetworkDriver


def load_drivers(conf: cfg.ConfigOpts, runner: CommandRunner) -> Drivers:
    """Load one driver of each family. Changes nothing on the machine.

    :raises StartupError: one that is needed, or was chosen by name, cannot be used.
    """

    def load_or_else(family: loader.Family[D], substitute: Callable[[str], S]) -> D | S:
        try:
            return load_driver(conf, family, runner)
        except DriverUnavailable as error:
            if _is_needed(conf, family):
                raise
            LOG.info("%s", error)
            return substitute(error.details)

    return Drivers(
        load_driver(conf, families.PROCESS_MANAGER, runner),
        load_driver(conf, families.CERT_STORE, runner),
        load_or_else(families.PACKAGE_MANAGER, lambda _reason: None),
        load_or_else(families.NETWORK, lambda reason: UnavailableNetwork(conf.network.namespace, reason)),
    )


def load_driver(conf: cfg.ConfigOpts, family: loader.Family[D], runner: CommandRunner) -> D:
    """Load the driver of one family alone. Changes nothing on the machine.

    :raises StartupError: there is none that can be used.
    """
    return loader.load(family, conf.drivers[family.name], _context(conf, family, runner)).driver


def print_drivers(conf: cfg.ConfigOpts, runner: CommandRunner, stream: TextIO) -> list[str]:
    """Print each installed driver: where it comes from, whether it is selected, and if not usable why.

    Needs neither root nor TLS material and changes nothing.

    :return: a sentence for each family in which an agent with this configuration could not start.
    """
    rows: list[tuple[str, ...]] = [_HEADINGS]
    problems: list[str] = []
    for family in families.FAMILIES:
        wanted = conf.drivers[family.name]
        names = loader.registered_names(family)
        if wanted not in (loader.AUTO, *names):
            names.append(wanted)
        context = _context(conf, family, runner)
        candidates = [loader.examine(family, name, context) for name in names]
        try:
            selected = loader.select(family, wanted, candidates).name
        except StartupError as error:
            selected = wanted
            if _is_needed(conf, family):
                problems.append(error.details)
        rows += [_row(family, candidate, selected, wanted) for candidate in candidates]
    for line in _aligned(rows):
        print(line, file=stream)
    return problems


def _row(
    family: loader.Family[Any], candidate: loader.Candidate[Any], selected: str, wanted: str
) -> tuple[str, ...]:
    mark = "-"
    if candidate.name == selected:
        mark = "by auto" if wanted == loader.AUTO else "by configuration"
    available = "yes" if candidate.driver is not None else f"no: {candidate.reason}"
    return family.name, candidate.name, " and ".join(candidate.sources) or "-", mark, available


def _aligned(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _is_needed(conf: cfg.ConfigOpts, family: loader.Family[Any]) -> bool:
    return not family.optional or bool(conf.drivers[family.name] != loader.AUTO)


def _context(conf: cfg.ConfigOpts, family: loader.Family[Any], runner: CommandRunner) -> DriverContext:
    name = "services" if family is families.PROCESS_MANAGER else family.name
    return DriverContext(
        state_directory=Paths.of(conf).base / name,
        certificate_directory=Path(conf.haproxy_amphora.base_cert_dir),
        interface_directory=Path(conf.amphora_agent.agent_server_network_dir or _INTERFACES),
        namespace=conf.network.namespace,
        runner=runner,
    )
