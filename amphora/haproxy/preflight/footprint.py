# SPDX-License-Identifier: Apache-2.0
"""Memory and open files of a haproxy process, by version.

Each figure is the difference between a configuration with many of a kind and one without, in the
proportional set size of an idle worker, rounded up (``tests/bench/haproxy_footprint.py``, two CPUs).
``process`` and ``master`` are of haproxies that ran alone in a Debian of their own, as in an amphora:
elsewhere others share the pages of their libraries; but ``master`` of 2.6 is what a reload adds at most, and
its first start takes 3 MiB more, out of what must stay free. ``tests/functional/haproxy/test_capacity.py``
holds the installed version to its figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

_KIB = 1024


@dataclass(frozen=True, slots=True)
class Footprint:
    """Figures of one version; bytes, but for the first.

    :ivar reserved_descriptors: that a process has besides those counted one by one.
    :ivar process: of a worker with nothing in its configuration.
    :ivar master: of the master process, which executes itself again at each reload.
    :ivar thread: of each thread.
    :ivar frontend: of each, with one bind; of a further bind less.
    :ivar tls_server: of a server with TLS, on top of a server's.
    :ivar certificate: of each.
    :ivar tls: as soon as any bind has TLS.
    :ivar tls_bind: of each bind with TLS.
    :ivar descriptor: of each that the process may have.
    :ivar pattern: a line of a map or of patterns.
    """

    reserved_descriptors: int
    process: int
    master: int
    thread: int
    frontend: int
    backend: int
    server: int
    tls_server: int
    certificate: int
    tls: int
    tls_bind: int
    descriptor: int
    pattern: int


def _in_kib(reserved: int, *figures: int) -> Footprint:
    *memory, descriptor, pattern = figures
    return Footprint(*[reserved, *(figure * _KIB for figure in memory), descriptor, pattern])


# fmt: off
#: By the version that they hold from; older ones, and 2.7 to 2.9, were not measured and are taken for 2.6.
#: Memory in KiB, but for descriptors and patterns in bytes.
FOOTPRINTS: Mapping[tuple[int, ...], Footprint] = MappingProxyType({
    # The columns are the fields of Footprint, in their order.
    (2, 6): _in_kib(21,  4100,  8 * 1024, 280, 13, 12, 6, 14, 32,    0, 28, 66, 340),  # 2.6.12
    (3, 0): _in_kib(32,  6300, 15 * 1024, 410, 12,  9, 5, 16, 25,    0, 34, 66, 300),  # 3.0.11
    (3, 1): _in_kib(21, 11500, 13 * 1024, 390, 11,  8, 5, 16, 24, 5200, 28, 66, 300),  # 3.2.26
    (3, 3): _in_kib(21, 11100, 11 * 1024, 590,  8,  4, 6, 17, 24, 5300, 28, 66, 300),  # 3.4.7
})
# fmt: on

#: For when no version is known.
OLDEST = FOOTPRINTS[2, 6]
