# SPDX-License-Identifier: Apache-2.0
"""Finds drivers by entry point: the only module that knows stevedore.

A family is an entry-point namespace. A name of ``auto`` asks each registered driver in a documented
order and takes the first that can work here; any other name must be exactly that driver.
"""

from __future__ import annotations

import importlib.metadata
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, NoReturn, TypeVar

from stevedore import NamedExtensionManager

from amphora.drivers.base import Driver, DriverContext
from amphora.errors import DriverLoadError, DriverUnavailable, StartupError

LOG = logging.getLogger(__name__)

AUTO = "auto"

D = TypeVar("D", bound=Driver)


@dataclass(frozen=True)
class Family(Generic[D]):
    """One kind of driver.

    :ivar name: as in ``[drivers]``; the entry-point namespace is ``amphora.`` and this name.
    :ivar contract: what every driver of the family must be a subclass of.
    :ivar preferred: the names that ``auto`` asks first, in this order; others follow by name.
    :ivar last_resort: the names that ``auto`` asks after all others.
    :ivar optional: the agent runs without a driver where ``auto`` finds none.
    """

    name: str
    contract: type[D]
    preferred: Sequence[str] = ()
    last_resort: Sequence[str] = ()
    optional: bool = False

    @property
    def namespace(self) -> str:
        """The entry-point namespace."""
        return f"amphora.{self.name}"


@dataclass(frozen=True)
class Candidate(Generic[D]):
    """A driver that was tried.

    :ivar sources: the distributions that offer it, ``acme 1.0``; none when there is no such driver.
    :ivar driver: built and able to work here, or None.
    :ivar objection: why ``auto`` should not take it all the same.
    :ivar reason: why it is None, as a clause.
    :ivar error: the same as one sentence that names family and driver.
    """

    name: str
    sources: tuple[str, ...] = ()
    driver: D | None = None
    reason: str = ""
    error: StartupError | None = None
    objection: str = ""


@dataclass(frozen=True)
class Selected(Generic[D]):
    """A driver in use, the name it was found by, and why it was taken."""

    name: str
    driver: D
    reason: str = ""


def registered_names(family: Family[D]) -> list[str]:
    """Return the names of a family's registered drivers in the order that ``auto`` asks them."""
    names = set(_manager(family, ()).entry_points_names())
    return sorted(names, key=lambda name: _rank(family, name))


def load(family: Family[D], name: str, context: DriverContext) -> Selected[D]:
    """Find, import, build and ask the driver that configuration names. Called once per family.

    Logs which one it is, where it comes from, and why it was taken.

    :param name: a registered name, or ``auto``.
    :param context: what the driver is built from.
    :raises DriverLoadError: no such driver, two distributions offer it, it cannot be imported or
        built, or it does not keep the family's contract. Names family, name, what is there, cause.
    :raises DriverUnavailable: it cannot work on this machine; for ``auto``: no registered one can.
    """
    names = registered_names(family) if name == AUTO else [name]
    selected = select(family, name, (examine(family, candidate, context) for candidate in names))
    source = " and ".join(_sources(family, selected.name))
    LOG.info("%s driver: %s (%s), selected by %s", family.name, selected.name, source, selected.reason)
    return selected


def select(family: Family[D], name: str, candidates: Iterable[Candidate[D]]) -> Selected[D]:
    """Take the driver that configuration names from candidates in the order that ``auto`` asks them.

    :param candidates: asked one by one, up to the one that is taken.
    :raises StartupError: see :func:`load`.
    """
    passed_over: list[str] = []
    for candidate in candidates:
        if name not in (AUTO, candidate.name):
            continue
        objection = candidate.objection if name == AUTO else ""
        if candidate.driver is not None and not objection:
            reason = _reason(candidate.driver, passed_over) if name == AUTO else "configuration"
            return Selected(candidate.name, candidate.driver, reason)
        if name != AUTO and candidate.error is not None:
            raise candidate.error
        passed_over.append(f"{candidate.name}: {objection or candidate.reason}")
    reasons = "; ".join(passed_over) or "none is installed"
    raise DriverUnavailable(f"no {family.name} driver can work on this machine: {reasons}")


def examine(family: Family[D], name: str, context: DriverContext) -> Candidate[D]:
    """Try one driver: find, import, build and ask it. Never raises."""
    sources = tuple(_sources(family, name))
    try:
        driver_class = _import(family, name)
        driver, objection = _build(driver_class, context)
    except _Refused as refusal:
        error = refusal.kind(f"{family.name} driver {name!r} {refusal.verdict}: {refusal.reason}")
        error.__cause__ = refusal.__cause__
        return Candidate(name, sources, None, refusal.reason, error)
    return Candidate(name, sources, driver, objection=objection)


class _Refused(Exception):
    """A driver cannot be used: the error to raise, what cannot be done with it, and why."""

    def __init__(self, kind: type[StartupError], verdict: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.verdict = verdict
        # The error of a driver may have many lines; a reason is one.
        self.reason = " ".join(reason.split())


class _Manager(NamedExtensionManager):  # type: ignore[type-arg]  # takes no argument before stevedore 5.6.0
    """stevedore's manager without its list on disk, which can be minutes behind a re-install.

    The list is found by the times of the files it was made from, rounded to about two minutes.
    """

    def list_entry_points(self) -> list[importlib.metadata.EntryPoint]:
        """Return what is installed now."""
        return list(importlib.metadata.entry_points(group=self.namespace))


def _reason(driver: Driver, passed_over: Sequence[str]) -> str:
    return f"{AUTO}, since {'; '.join(passed_over)}" if passed_over else f"{AUTO}: {driver.condition}"


def _build(driver_class: type[D], context: DriverContext) -> tuple[D, str]:
    try:
        driver = driver_class.create(context)
        driver.check_available()
        return driver, driver.objection_to_auto()
    except DriverUnavailable as error:
        raise _Refused(DriverUnavailable, "cannot work on this machine", error.details) from error
    except Exception as error:
        verdict, reason = "could not be set up", f"{type(error).__name__}: {error}"
        raise _Refused(DriverLoadError, verdict, reason) from error


def _import(family: Family[D], name: str) -> type[D]:
    offers = [point for point in _manager(family, ()).list_entry_points() if point.name == name]
    if not offers:
        available = ", ".join(registered_names(family)) or "none"
        _refuse(f"no such driver is installed; available: {available}")
    if len(offers) > 1:
        sources = " and ".join(_sources(family, name))
        _refuse(f"it is offered more than once, by {sources}; remove all but one")
    try:
        found = _manager(family, (name,)).extensions[0].plugin
    except (AssertionError, SystemExit) as error:  # the two that stevedore lets through
        _failed_import(None, offers[0], error)
    if not (isinstance(found, type) and issubclass(found, family.contract)):
        _refuse(f"{found!r} is no subclass of {family.contract.__qualname__}")
    return found


def _manager(family: Family[D], names: Sequence[str]) -> _Manager:
    # Only the named entry point is imported: a broken driver that was not chosen does no harm.
    return _Manager(family.namespace, names, on_load_failure_callback=_failed_import)


def _failed_import(_manager: object, point: importlib.metadata.EntryPoint, error: BaseException) -> NoReturn:
    refusal = _Refused(
        DriverLoadError,
        "cannot be loaded",
        f"{point.value} failed on import: {type(error).__name__}: {error}",
    )
    raise refusal from error


def _sources(family: Family[D], name: str) -> list[str]:
    return sorted(
        f"{point.dist.metadata['Name']} {point.dist.version}" if point.dist else point.value
        for point in _manager(family, ()).list_entry_points()
        if point.name == name
    )


def _rank(family: Family[D], name: str) -> tuple[int, int, str]:
    if name in family.preferred:
        return 0, family.preferred.index(name), name
    return (2, family.last_resort.index(name), name) if name in family.last_resort else (1, 0, name)


def _refuse(reason: str) -> NoReturn:
    raise _Refused(DriverLoadError, "cannot be loaded", reason)
