# SPDX-License-Identifier: Apache-2.0
"""Names that the kernel's virtual server (IPVS) and its configuration share."""

from __future__ import annotations

from dataclasses import dataclass

from amphora.models import IPAddress


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address and a port."""

    address: IPAddress
    port: int

    def __str__(self) -> str:
        host = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class VirtualService:
    """What clients connect to.

    :ivar protocol: ``UDP``, ``SCTP`` or ``TCP``.
    """

    protocol: str
    endpoint: Endpoint

    def __str__(self) -> str:
        return f"{self.protocol} {self.endpoint}"
