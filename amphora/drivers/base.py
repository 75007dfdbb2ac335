# SPDX-License-Identifier: Apache-2.0
"""What every driver of every family promises."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from amphora.system.command import CommandRunner


@dataclass(frozen=True, slots=True)
class DriverContext:
    """What the agent offers a driver when it builds one. A driver takes what it needs of it.

    :ivar state_directory: where a driver may keep files that outlive the agent and a reboot; it need
        not exist yet. Below ``base_path``, one for each family.
    :ivar certificate_directory: ``[haproxy_amphora] base_cert_dir``.
    :ivar interface_directory: ``[amphora_agent] agent_server_network_dir``.
    :ivar namespace: network namespace of tenant traffic; empty means the agent's own.
    :ivar runner: runs commands.
    """

    state_directory: Path
    certificate_directory: Path
    interface_directory: Path
    namespace: str
    runner: CommandRunner


class Driver(abc.ABC):
    """A driver is given what it needs and never reads configuration itself.

    :cvar condition: what :meth:`check_available` has found when it returns, as a clause for the log.
    """

    condition: ClassVar[str] = "it can work on this machine"

    @classmethod
    @abc.abstractmethod
    def create(cls, context: DriverContext) -> Self:
        """Build this driver from what the agent offers. Changes nothing on the machine.

        Called once, at start; tests call the constructor with just what they want to give.
        """

    @abc.abstractmethod
    def check_available(self) -> None:
        """Return if this driver can work on this machine, else raise why it cannot.

        Changes nothing that matters, may be repeated, blocks for about a second at most. Selection
        by ``auto`` asks each registered driver in turn; a driver chosen by name is asked too.

        :raises DriverUnavailable: with one sentence that names what is missing.
        """

    def objection_to_auto(self) -> str:
        """Return why ``auto`` should not take this driver although it can work; empty if it may.

        Asked after :meth:`check_available`, under the same conditions, and only for ``auto``.
        """
        return ""
