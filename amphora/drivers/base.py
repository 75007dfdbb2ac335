# SPDX-License-Identifier: Apache-2.0
"""What every driver of every family promises."""

from __future__ import annotations

import abc


class Driver(abc.ABC):
    """A driver is built by the agent with what it needs and never reads configuration itself."""

    @abc.abstractmethod
    def check_available(self) -> None:
        """Return if this driver can work on this machine, else say why it cannot.

        Changes nothing, may be repeated, blocks for less than a second. Selection by ``auto`` asks
        each registered driver in turn; a driver chosen by name is asked too.

        :raises DriverUnavailable: with one sentence that names what is missing.
        """
