# SPDX-License-Identifier: Apache-2.0
"""What the heartbeat is told by its operator."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class HeartbeatSettings:
    """Any of these may change while the heartbeat runs, but the id once there is one.

    :ivar controllers: ``address:port`` or ``name:port`` each, IPv6 addresses in brackets.
    :ivar interval: seconds between two heartbeats.
    :ivar key: shared with the controllers. It is in no log and no representation.
    :ivar amphora_id: as the controller knows this amphora. Never a guess: a controller deletes the
        machine of an amphora that it knows and has no load balancer for.
    """

    controllers: tuple[str, ...] = ()
    interval: float = 10.0
    key: str = field(default="", repr=False)
    amphora_id: str = ""

    def what_is_missing(self) -> str:
        """Return the option without which there can be no heartbeat, or an empty string."""
        if not self.controllers:
            return "[health_manager] controller_ip_port_list"
        if not self.key:
            return "[health_manager] heartbeat_key"
        return "" if self.amphora_id else "[amphora_agent] amphora_id"
