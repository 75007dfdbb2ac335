# SPDX-License-Identifier: Apache-2.0
"""Tells a service manager how this process is doing (sd_notify(3))."""

from __future__ import annotations

import os
import socket
import time


def notify_ready() -> None:
    """Say that start-up, or a reload, is complete."""
    _send("READY=1")


def notify_reloading() -> None:
    """Say that the configuration is being read again."""
    _send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")


def notify_stopping() -> None:
    """Say that the process is about to end."""
    _send("STOPPING=1")


def notify_alive() -> None:
    """Say that this process still does its work; to be repeated within :func:`watchdog_interval`."""
    _send("WATCHDOG=1")


def watchdog_interval() -> float | None:
    """Return after how many seconds without a sign of life the manager gives this process up.

    :return: None when it does not watch this process (sd_watchdog_enabled(3)).
    """
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(microseconds) / 1e6 if microseconds.isascii() and microseconds.isdigit() else None


def _send(message: str) -> None:
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    name = f"\0{address[1:]}" if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        try:
            channel.settimeout(1.0)
            channel.sendto(message.encode(), name)
        except OSError:
            # A manager that went away must not take the agent with it.
            return
