# SPDX-License-Identifier: Apache-2.0
"""Finds drivers by entry point: the only module that knows stevedore.

A family is an entry-point namespace. A name of ``auto`` asks each registered driver in a documented
order and takes the first that says it can work here; any other name must be exactly that driver.
"""

from __future__ import annotations

import importlib.metadata
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, NoReturn, TypeVar

from stevedore import NamedExtensionManager

from amphora.drivers.base import Driver, DriverContext
from amphora.errors import DriverLoadError, DriverUnavailable

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
    """

    name: str
    contract: type[D]
    preferred: Sequence[str] = ()
    last_resort: Sequence[str] = ()

    @property
    def namespace(self) -> str:
        """The entry-point namespace."""
        return f"amphora.{self.name}"


@dataclass(frozen=True)
class Selected(Generic[D]):
    """A driver in use and the name it was found by."""

    name: str
    driver: D


def registered_names(family: Family[D]) -> list[str]:
    """Return the names of a family's registered drivers in the order that ``auto`` asks them."""
    names = set(_manager(family, ()).entry_points_names())
    return sorted(names, key=lambda name: _rank(family, name))


def load(family: Family[D], name: str, context: DriverContext) -> Selected[D]:
    """Find, import, build and ask the driver that configuration names. Called once per family.

    :param name: a registered name, or ``auto``.
    :param context: what the driver is built from.
    :raises DriverLoadError: no such driver, two distributions offer it, it cannot be imported or
        built, or it does not keep the family's contract. Names family, name, what is there, cause.
    :raises DriverUnavailable: it cannot work on this machine; for ``auto``: no registered one can.
    """
    if name != AUTO:
        return _load_one(family, name, context)
    reasons = []
    for candidate in registered_names(family):
        try:
            selected = _load_one(family, candidate, context)
        except (DriverUnavailable, DriverLoadError) as error:
            reasons.append(error.details)
        else:
            LOG.info("%s driver: %s, selected by auto", family.name, candidate)
            return selected
    raise DriverUnavailable(
        f"no {family.name} driver can work on this machine: {'; '.join(reasons) or 'none is installed'}"
    )


def _load_one(family: Family[D], name: str, context: DriverContext) -> Selected[D]:
    driver_class = _import(family, name)
    if not (isinstance(driver_class, type) and issubclass(driver_class, family.contract)):
        _fail(family, name, f"{driver_class!r} is no subclass of {family.contract.__qualname__}")
    try:
        driver = driver_class.create(context)
        driver.check_available()
    except DriverUnavailable as error:
        raise DriverUnavailable(
            f"{family.name} driver {name!r} cannot work on this machine: {error.details}"
        ) from error
    except Exception as error:
        raise DriverLoadError(
            f"{family.name} driver {name!r} could not be set up: {type(error).__name__}: {error}"
        ) from error
    return Selected(name, driver)


def _import(family: Family[D], name: str) -> Any:
    offers = [point for point in _manager(family, ()).list_entry_points() if point.name == name]
    if not offers:
        available = ", ".join(registered_names(family)) or "none"
        _fail(family, name, f"no such driver is installed; available: {available}")
    if len(offers) > 1:
        sources = " and ".join(_sources(family, name)) or ", ".join(point.value for point in offers)
        _fail(family, name, f"it is offered more than once, by {sources}; remove all but one")
    return _manager(family, (name,)).extensions[0].plugin


def _manager(family: Family[D], names: Sequence[str]) -> NamedExtensionManager[Any]:
    # Only the named entry point is imported: a broken driver that nobody chose disturbs nothing.
    def failed(_manager: object, point: importlib.metadata.EntryPoint, error: BaseException) -> NoReturn:
        _fail(family, point.name, f"{point.value} failed on import: {type(error).__name__}: {error}")

    return NamedExtensionManager(family.namespace, names, on_load_failure_callback=failed)


def _sources(family: Family[D], name: str) -> list[str]:
    return sorted(
        f"{distribution.metadata['Name']} {distribution.version}"
        for distribution in importlib.metadata.distributions()
        for point in distribution.entry_points
        if point.group == family.namespace and point.name == name
    )


def _rank(family: Family[D], name: str) -> tuple[int, int, str]:
    if name in family.preferred:
        return 0, family.preferred.index(name), name
    return (2, family.last_resort.index(name), name) if name in family.last_resort else (1, 0, name)


def _fail(family: Family[D], name: str, reason: str) -> NoReturn:
    raise DriverLoadError(f"{family.name} driver {name!r} cannot be loaded: {reason}")
