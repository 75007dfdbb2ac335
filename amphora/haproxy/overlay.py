# SPDX-License-Identifier: Apache-2.0
"""A configuration file of our own that every haproxy gets before the uploaded one.

haproxy reads several ``-f`` files as one, so the uploaded file stays as it came, byte for byte. Ours
comes first, because ``log global`` takes the log targets known where it stands. Stats sockets add up,
but a second ``user`` or ``group`` is an alert, so those come only where the upload has none (all
measured on 2.6). The upload may also limit old workers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from amphora.haproxy.capabilities import Capabilities
from amphora.haproxy.reading.configuration import Configuration
from amphora.haproxy.reading.lines import quote
from amphora.haproxy.reading.section_lines import global_values

#: Keyword of what ends old workers after a number of reloads, failed ones included, and the largest one.
RELOAD_LIMIT, ANY_NUMBER = "mworker-max-reloads", 2**31 - 1


@dataclass(frozen=True, slots=True)
class OverlaySettings:
    """What we add to an uploaded configuration.

    :ivar stats_socket: path of our own stats socket; at most 97 bytes, because haproxy binds a
        longer temporary name first.
    :ivar log_target: syslog socket path or ``address:port``, used where the upload has no log target
        of its own; empty for none. A path cannot be reached from a ``chroot`` of the upload's.
    :ivar user_log_facility: *n* of ``local<n>``, for traffic.
    :ivar administrative_log_facility: *n* of ``local<n>``, for haproxy's own messages.
    :ivar user: to run as where the upload names none, or None. Only root may change its user, so
        leave it None elsewhere: with a name haproxy counts as started by root.
    :ivar group: likewise.
    :ivar relaxed_limits: start with fewer descriptors than ``maxconn`` asks for, and warn, where the
        system allows no more; from haproxy 2.3 on that would be fatal (``strict-limits``).
    :ivar drain_seconds: after which an old worker ends the connections it still has
        (``hard-stop-after``); 0 for never.
    """

    stats_socket: Path
    log_target: str = ""
    user_log_facility: int = 0
    administrative_log_facility: int = 1
    user: str | None = None
    group: str | None = None
    relaxed_limits: bool = False
    drain_seconds: int = 0


def render_overlay(
    configuration: Configuration, settings: OverlaySettings, capabilities: Capabilities
) -> bytes:
    """Return our file for one uploaded configuration; the same input gives the same bytes.

    :param capabilities: of haproxy: it gets no limit for old workers that it does not know.
    """
    lines = [
        "# Written by amphora-agent, read before the uploaded configuration. Changes made here are lost.",
        "global",
        # Mode 600 before haproxy gives up root: the socket can do anything to the process.
        f"    stats socket {quote(str(settings.stats_socket))} mode 600 level admin expose-fd listeners",
    ]
    if settings.relaxed_limits:
        lines.append("    no strict-limits")
    out_of_reach = configuration.sets_chroot and settings.log_target.startswith("/")
    if settings.log_target and not configuration.log_targets and not out_of_reach:
        target = quote(settings.log_target)
        lines.append(f"    log {target} local{settings.user_log_facility}")
        lines.append(f"    log {target} local{settings.administrative_log_facility} notice")
    if settings.user and not configuration.sets_user:
        lines.append(f"    user {quote(settings.user)}")
    if settings.group and not configuration.sets_group:
        lines.append(f"    group {quote(settings.group)}")
    if capabilities.warns_without_chroot and settings.user and not configuration.sets_chroot:
        # haproxy's own word for wanting none. It moves nothing, so that paths mean what they did.
        lines.append("    chroot /")
    lines.extend(_worker_limits(configuration, settings, capabilities))
    return ("\n".join(lines) + "\n").encode()


def _worker_limits(
    configuration: Configuration, settings: OverlaySettings, capabilities: Capabilities
) -> Iterator[str]:
    """Yield the limits of old workers that the upload does not set itself."""
    uploaded = global_values(configuration.lines)
    if settings.drain_seconds and "hard-stop-after" not in uploaded and capabilities.bounds_drain:
        yield f"    hard-stop-after {settings.drain_seconds}s"
    if capabilities.cuts_by_default and RELOAD_LIMIT not in uploaded:
        yield f"    {RELOAD_LIMIT} {ANY_NUMBER}"
