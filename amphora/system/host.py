# SPDX-License-Identifier: Apache-2.0
"""What the operating system says of itself and of its users."""

from __future__ import annotations

import grp
import os
import pwd
import socket
from collections.abc import Iterable


def hostname() -> str:
    """Return the host's name as set now."""
    return socket.gethostname()


def is_root() -> bool:
    """Whether this process may do what only root may."""
    return os.geteuid() == 0


def first_existing_user(names: Iterable[str]) -> tuple[str, str] | None:
    """Return the first of these users that exists, with the name of its primary group, or None."""
    for name in names:
        try:
            entry = pwd.getpwnam(name)
            return name, grp.getgrgid(entry.pw_gid).gr_name
        except KeyError:
            continue
    return None
