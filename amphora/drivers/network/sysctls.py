# SPDX-License-Identifier: Apache-2.0
"""Kernel parameters of one interface of the data namespace (ip-sysctl in the kernel's documentation)."""

from __future__ import annotations

from amphora.drivers.network.kernel import Kernel
from amphora.models import InterfaceConfig


def set_sysctls(kernel: Kernel, config: InterfaceConfig) -> None:
    """Set what an interface needs before it is up. Safe to repeat.

    :raises OperationFailed: one was refused.
    """
    # Without it the kernel drops all addresses of a subnet together with the first of them.
    kernel.set_sysctl(f"net/ipv4/conf/{config.name}/promote_secondaries", "1")
    # 2: also where packets are forwarded. 0: a tenant's router must not add routes of its own.
    kernel.set_sysctl(f"net/ipv6/conf/{config.name}/accept_ra", "2" if config.automatic else "0")
    kernel.set_sysctl(f"net/ipv6/conf/{config.name}/autoconf", "1" if config.automatic else "0")
