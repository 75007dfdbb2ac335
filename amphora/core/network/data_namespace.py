# SPDX-License-Identifier: Apache-2.0
"""The network namespace of tenant traffic and its kernel settings."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from types import MappingProxyType

from amphora.errors import OperationFailed
from amphora.system import namespaces
from amphora.system.command import CommandRunner

LOG = logging.getLogger(__name__)

_TIMEOUT = 20.0

#: The machine's own tables of connections, as large at least; they serve all namespaces.
_CONNECTION_TABLES: Mapping[str, int] = MappingProxyType(
    {
        "net/netfilter/nf_conntrack_buckets": 125000,
        "net/netfilter/nf_conntrack_max": 125000,
        "net/netfilter/nf_conntrack_expect_max": 488,
    }
)

#: Balancing by IP_VS forwards packets; its connections are tracked, and end with the member they went to.
_FORWARDING_SYSCTLS: Mapping[str, str] = MappingProxyType(
    {
        "net/ipv4/ip_forward": "1",
        "net/ipv4/vs/conntrack": "1",
        "net/ipv6/conf/all/forwarding": "1",
        "net/ipv4/vs/expire_nodest_conn": "1",
        "net/ipv4/vs/expire_quiescent_template": "1",
    }
)


class DataNamespace:
    """Makes the namespace and tunes it.

    :ivar name: empty means the agent's own, which is left as it is.
    """

    def __init__(self, name: str, runner: CommandRunner) -> None:
        self.name = name
        self._runner = runner

    def ensure(self) -> None:
        """Make the namespace if it is missing. Safe to repeat.

        :raises OperationFailed: it could not be made.
        """
        namespaces.ensure(self.name, namespaces.DATA_SYSCTLS, self._runner)

    def prepare(self) -> None:
        """Make the namespace and tune the kernel for it, as after a boot. Safe to repeat.

        Settings that a kernel does not know, for lack of a module, are logged and skipped: most load
        balancers do not need them.

        :raises OperationFailed: the namespace could not be made.
        """
        if not self.name:
            return
        is_new = not namespaces.exists(self.name)
        self.ensure()
        if is_new:
            # First, since the image's own settings may differ from what load balancing needs.
            self._try("sysctl", "--quiet", "--system", "--pattern", r"^net\.", namespace=self.name)
        self._try("modprobe", "--quiet", "ip_vs")
        _set({key: str(least) for key, least in _CONNECTION_TABLES.items() if _is_below(key, least)})
        namespaces.call_inside(self.name, lambda: _set({**_FORWARDING_SYSCTLS, **namespaces.DATA_SYSCTLS}))

    def _try(self, *argv: str, namespace: str = "") -> None:
        try:
            result = self._runner.run(argv, timeout=_TIMEOUT, namespace=namespace)
        except OperationFailed as error:
            LOG.info("%s", error.details)
            return
        if not result.succeeded:
            LOG.info("%s: %s", " ".join(argv), " ".join(result.output.split()))


def _is_below(key: str, least: int) -> bool:
    text = namespaces.read_sysctl(key)
    return text.isdecimal() and int(text) < least


def _set(sysctls: Mapping[str, str]) -> None:
    for key, value in sysctls.items():
        try:
            namespaces.write_sysctls({key: value})
        except OperationFailed as error:
            LOG.info("%s", error.details)
