# SPDX-License-Identifier: Apache-2.0
"""Configurations as a controller would send them."""

from __future__ import annotations

from collections.abc import Iterable

POOL = "399bbf4b-5f6c-4370-a61e-ed2ff2fc9387"
MEMBER = "73f6d278-ae1c-4248-ad02-0bfd50d69aab"


def listener_id(number: int) -> str:
    """Return a listener's id that is easy to recognise."""
    return f"{number:08d}-5862-4a13-b9e3-9b440d0ed50a"


def configuration(listener: str, binds: Iterable[str], member_port: int, comment: str = "") -> bytes:
    """Return a listener's configuration with one frontend for each bind."""
    frontends = "\n".join(
        f"frontend {listener}{'' if number == 0 else f'-{number}'}\n"
        f"    bind {bind}\n    default_backend {POOL}"
        for number, bind in enumerate(binds)
    )
    return f"""\
# Configuration for {listener} {comment}
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
{frontends}
backend {POOL}
    server {MEMBER} 127.0.0.1:{member_port}
""".encode()


def hidden_frontend(port: int) -> bytes:
    """Return what may follow a configuration: a bind within a condition, of which pre-flight cannot know."""
    return f".if 1\nfrontend hidden\n    bind 127.0.0.1:{port}\n.endif\n".encode()
