# SPDX-License-Identifier: Apache-2.0
"""Where the agent keeps what outlives it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from oslo_config import cfg

from amphora.core.workloads.haproxy_files import HaproxyDirectory
from amphora.core.workloads.lvs_files import LvsDirectory
from amphora.core.workloads.vrrp_files import VrrpFiles


@dataclass(frozen=True, slots=True)
class Paths:
    """Files and directories below the one that ``base_path`` names.

    :ivar base: that one.
    """

    base: Path

    @classmethod
    def of(cls, conf: cfg.ConfigOpts) -> Self:
        """Return the paths of a configuration."""
        return cls(Path(conf.haproxy_amphora.base_path))

    @property
    def haproxies(self) -> HaproxyDirectory:
        """Files of each haproxy instance."""
        return HaproxyDirectory(self.base)

    @property
    def lvs_listeners(self) -> LvsDirectory:
        """Files of each LVS listener."""
        return LvsDirectory(self.base)

    @property
    def vrrp(self) -> VrrpFiles:
        """Files of keepalived's VRRP."""
        return VrrpFiles(self.base)

    @property
    def operations(self) -> Path:
        """Directory of the journal of changes."""
        return self.base / "operations"

    @property
    def answers(self) -> Path:
        """Directory of the responses to requests with an idempotency key."""
        return self.base / "answers"

    @property
    def topology(self) -> Path:
        """File of the topology that was set last."""
        return self.base / "topology.json"

    @property
    def counters(self) -> Path:
        """File of the counters that heartbeats have reported."""
        return self.base / "stats_counters.json"

    @property
    def default_group(self) -> Path:
        """The image's file that names the group of haproxy's workers; it need not exist."""
        return self.base / "haproxy-default-user-group.conf"
