# SPDX-License-Identifier: Apache-2.0
"""A wrapper that lets any driver of any family fail, dawdle, hang or die at a chosen call.

What stands on a driver must cope with one that does not keep its word. A plan names the calls::

    plan = FaultPlan(
        fail(ServiceError("no room"), at=2, of="start"),
        kill(at=7, after=True),
    )
    manager = with_faults(StandaloneProcessManager(directory, runner), plan)

The second ``start`` raises and starts nothing; the seventh call of any method is carried out, and then
the process dies by SIGKILL, and the caller never gets a result. ``plan.calls`` lists the calls.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar, cast

from amphora.drivers.base import Driver

D = TypeVar("D", bound=Driver)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a method of the contract.

    :ivar number: counted from 1 over all methods.
    """

    number: int
    method: str
    arguments: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Fault:
    """What happens at one call; see :func:`fail`, :func:`delay`, :func:`hang` and :func:`kill`.

    :ivar at: which call, counted from 1: among those of one method, or of all.
    :ivar of: name of the method; empty means any.
    :ivar after: the driver carries the call out first, and only the answer is bad.
    :ivar reached: set once the call is there.
    :ivar released: set it to let a call that hangs go on.
    """

    at: int
    of: str
    after: bool
    strike: Callable[[Fault], object]
    reached: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)

    def meets(self, call: Call, number_of_method: int) -> bool:
        """Whether this is the call."""
        return (
            call.number == self.at if not self.of else (call.method, number_of_method) == (self.of, self.at)
        )

    def happen(self) -> None:
        """Do it, in the thread of the caller."""
        self.reached.set()
        self.strike(self)


def fail(error: BaseException, *, at: int, of: str = "", after: bool = False) -> Fault:
    """Return a fault that raises an error."""

    def strike(_fault: Fault) -> NoReturn:
        raise error

    return Fault(at, of, after, strike)


def delay(seconds: float, *, at: int, of: str = "", after: bool = False) -> Fault:
    """Return a fault that lets the call take so many seconds more, or until it is released."""
    return Fault(at, of, after, lambda fault: fault.released.wait(seconds))


def hang(*, at: int, of: str = "", after: bool = False) -> Fault:
    """Return a fault that blocks the call until it is released."""
    return Fault(at, of, after, lambda fault: fault.released.wait())


def kill(*, at: int, of: str = "", after: bool = False) -> Fault:
    """Return a fault that ends the whole process by SIGKILL: nothing is cleaned up or reported."""
    return Fault(at, of, after, lambda _fault: _die())


class FaultPlan:
    """Counts the calls of the drivers wrapped with it and lets the planned ones go wrong.

    May be used by several threads, and by several drivers, whose calls are then counted together.
    A fault happens once; where several meet one call they happen in the order given.
    """

    def __init__(self, *faults: Fault) -> None:
        self._faults = faults
        self._lock = threading.Lock()
        self._calls: list[Call] = []
        self._by_method: Counter[str] = Counter()

    @property
    def calls(self) -> list[Call]:
        """All calls so far, in the order of their coming, those that fail and hang included."""
        with self._lock:
            return list(self._calls)

    def methods(self) -> list[str]:
        """Return the names of the methods called so far, in order."""
        return [call.method for call in self.calls]

    def release(self) -> None:
        """Let all calls that hang or dawdle go on, now and later."""
        for fault in self._faults:
            fault.released.set()

    def carry_out(self, method: str, call: Callable[[], Any], arguments: tuple[Any, ...] = ()) -> Any:
        """Return what a call returns, unless a fault prevents it. For the wrapper."""
        faults = self._met_by(method, arguments)
        for fault in faults:
            if not fault.after:
                fault.happen()
        answer = call()
        for fault in faults:
            if fault.after:
                fault.happen()
        return answer

    def _met_by(self, method: str, arguments: tuple[Any, ...]) -> list[Fault]:
        with self._lock:
            self._by_method[method] += 1
            call = Call(len(self._calls) + 1, method, arguments)
            self._calls.append(call)
            return [fault for fault in self._faults if fault.meets(call, self._by_method[method])]

    def check(self, methods: frozenset[str]) -> None:
        """Refuse a plan for methods that there are not.

        :raises ValueError: it would never come true.
        """
        for fault in self._faults:
            if fault.of and fault.of not in methods:
                raise ValueError(f"there is no method {fault.of!r}; there are {', '.join(sorted(methods))}")


def with_faults(driver: D, plan: FaultPlan) -> D:
    """Return a driver that keeps the same contract and hands each call to this one, as planned.

    Methods that the contract leaves to drivers are delegated; what it builds on them itself, as
    :meth:`NetworkDriver.restore`, is delegated where the driver has its own. Everything else the driver
    offers can be reached through the wrapper, and is not counted.

    :raises ValueError: the plan names a method that the contract does not have.
    """
    contract = contract_of(type(driver))
    methods = _delegated(contract, type(driver))
    plan.check(methods)
    body: dict[str, Any] = {name: _delegate(driver, plan, name) for name in methods}
    body["__getattr__"] = lambda _self, name: getattr(driver, name)
    body["create"] = classmethod(lambda _cls, context: with_faults(type(driver).create(context), plan))
    body["__doc__"] = f"A {type(driver).__name__} with faults."
    return cast(D, type(f"Faulty{type(driver).__name__}", (contract,), body)())


def contract_of(driver_class: type[Driver]) -> type[Driver]:
    """Return the contract that a driver keeps: the class below :class:`Driver` among its bases."""
    return next(cls for cls in driver_class.__mro__ if Driver in cls.__bases__)


def _delegated(contract: type[Driver], driver_class: type[Driver]) -> frozenset[str]:
    public = {name for name in dir(contract) if not name.startswith("_") and name != "create"}
    own = {name for name in public if getattr(contract, name) is not getattr(driver_class, name)}
    return frozenset(own | (contract.__abstractmethods__ - {"create"}))


def _delegate(driver: Driver, plan: FaultPlan, name: str) -> Callable[..., Any]:
    def delegate(_self: object, *arguments: Any, **named: Any) -> Any:
        method = getattr(driver, name)
        return plan.carry_out(name, lambda: method(*arguments, **named), (*arguments, *named.values()))

    return delegate


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    # Another thread may be the one that meets the signal.
    time.sleep(60)
