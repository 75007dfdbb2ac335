# SPDX-License-Identifier: Apache-2.0
"""Where the files of keepalived are, and what each of them means."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class VrrpLayout:
    """The files of the one keepalived for VRRP, below ``base_path/vrrp/``."""

    base_path: Path

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
    def running(self) -> Path:
        """What the overlay includes: proven in words that keepalived knows.

        Except while a start or reload is under way.
        """
        return self.directory / "running.conf"

    @property
    def proven(self) -> Path:
        """The last configuration that was seen to run, as it was uploaded."""
        return self.directory / "proven.conf"

    @property
    def overlay(self) -> Path:
        """Our own configuration file, which includes the other and is given to keepalived."""
        return self.directory / "agent.conf"

    @property
    def staged(self) -> Path:
        """A configuration that is being checked, in words that keepalived knows."""
        return self.directory / "octavia-keepalived.conf.new"

    @property
    def received(self) -> Path:
        """An upload, byte for byte, while it is being checked."""
        return self.directory / "octavia-keepalived.conf.received"

    @property
    def staged_overlay(self) -> Path:
        """The overlay of the staged configuration."""
        return self.directory / "agent.conf.new"

    @property
    def former(self) -> Path:
        """A copy of what the proven configuration runs as, while a start or reload is under way."""
        return self.directory / "running.conf.former"

    @property
    def to_be_proven(self) -> Path:
        """A copy of the stored configuration, while a start or reload of it is under way."""
        return self.directory / "proven.conf.new"

    @property
    def stored_back(self) -> Path:
        """A copy of the proven configuration meanwhile, to store again without needing room on the disk."""
        return self.directory / "octavia-keepalived.conf.back"

    @property
    def next_overlay(self) -> Path:
        """The overlay of what is to run, while a start or reload is under way."""
        return self.directory / "agent.conf.next"

    @property
    def overlay_back(self) -> Path:
        """The overlay to go back with, while a start or reload is under way."""
        return self.directory / "agent.conf.back"

    @property
    def transient(self) -> tuple[Path, ...]:
        """Everything that is there only while a change is under way."""
        return (
            self.staged,
            self.staged_overlay,
            self.received,
            self.former,
            self.to_be_proven,
            self.stored_back,
            self.next_overlay,
            self.overlay_back,
        )

    @property
    def pid_file(self) -> Path:
        """Written by keepalived's main process."""
        return self.directory / "octavia-keepalived.pid"

    @property
    def vrrp_pid_file(self) -> Path:
        """Written by its child that speaks VRRP."""
        return self.directory / "octavia-keepalived.vrrp.pid"

    @property
    def fifo(self) -> Path:
        """keepalived tells its states here."""
        return self.directory / "notify.fifo"

    @property
    def states(self) -> Path:
        """The states last told, for our next start."""
        return self.directory / "states.json"

    @property
    def check_script(self) -> Path:
        """Tells keepalived whether this node serves; controllers name it in their configuration."""
        return self.directory / "check_script.sh"

    @property
    def check_scripts(self) -> Path:
        """Holds the scripts that the one above runs."""
        return self.directory / "check_scripts"

    @property
    def haproxy_check_script(self) -> Path:
        """Tells whether every haproxy that is to run does."""
        return self.check_scripts / "haproxy_check_script.sh"

    @property
    def lvs_check_script(self) -> Path:
        """Tells whether every LVS listener that was started runs."""
        return self.check_scripts / "lvs_udp_check.sh"

    @property
    def service_name(self) -> str:
        """Name of the service that runs keepalived."""
        return "octavia-keepalived"
