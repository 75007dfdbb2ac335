# SPDX-License-Identifier: Apache-2.0
"""Where the files of the keepalived for VRRP are, and what each of them means."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from amphora.core.changes.locks import KEEPALIVED
from amphora.core.workloads.files import WorkloadFiles
from amphora.system import files


@dataclass(frozen=True)
class VrrpFiles(WorkloadFiles):
    """The files of the one keepalived for VRRP, below ``base_path/vrrp/``.

    What runs is written in words that keepalived knows; what is proven is kept as it was uploaded.
    """

    id: str = KEEPALIVED

    @property
    def directory(self) -> Path:
        """Holds everything of it."""
        return self.base_path / "vrrp"

    @property
    def stored(self) -> Path:
        """The configuration as uploaded, byte for byte; it takes effect with the next start or reload."""
        return self.directory / "octavia-keepalived.conf"

    @property
    def rendered(self) -> Path:
        """The configuration made from the topology; it counts while none is uploaded."""
        return self.directory / "topology.conf"

    @property
    def sources(self) -> tuple[Path, ...]:
        """Where a start or reload takes its configuration from: the first of these that exists."""
        return self.stored, self.rendered

    @property
    def pid_file(self) -> Path:
        """Written by keepalived's main process."""
        return self.directory / "octavia-keepalived.pid"

    @property
    def vrrp_pid_file(self) -> Path:
        """Written by its child that speaks VRRP."""
        return self.directory / "octavia-keepalived.vrrp.pid"

    @property
    def argument(self) -> Path:
        """A path in the command line of its process that no other process has there."""
        return self.overlay

    @property
    def fifo(self) -> Path:
        """keepalived writes its states here."""
        return self.directory / "notify.fifo"

    @property
    def states(self) -> Path:
        """The latest states, for our next start."""
        return self.directory / "states.json"

    @property
    def check_script(self) -> Path:
        """Its exit status says whether this node serves; controllers name it in their configuration."""
        return self.directory / "check_script.sh"

    @property
    def check_scripts(self) -> Path:
        """Holds the scripts that the one above runs."""
        return self.directory / "check_scripts"

    @property
    def haproxy_check_script(self) -> Path:
        """Whether every haproxy that should run does."""
        return self.check_scripts / "haproxy_check_script.sh"

    @property
    def lvs_check_script(self) -> Path:
        """Whether every LVS listener that was started runs."""
        return self.check_scripts / "lvs_udp_check.sh"

    @property
    def service_name(self) -> str:
        """Name of the service that runs keepalived."""
        return "octavia-keepalived"

    def store_proven(self) -> str:
        """Store the proven configuration again; one that was made from the topology counts by itself."""
        proven = files.read_if_present(self.proven)
        if proven is not None and proven == files.read_if_present(self.rendered):
            files.remove(self.stored)
            return "The last proven configuration is stored again."
        return super().store_proven()
