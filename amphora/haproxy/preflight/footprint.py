# SPDX-License-Identifier: Apache-2.0
"""What a haproxy process takes of memory and open files, by version.

Each figure is the difference between a configuration with many of a kind and one without, in the
proportional set size of an idle worker, rounded up (``tests/bench/haproxy_footprint.py``, two CPUs).
``process`` and ``master`` are of haproxies that ran alone in a Debian of their own, as in an amphora:
elsewhere others share the pages of their libraries; but ``master`` of 2.6 is what a reload adds at most, and
its first start takes 3 MiB more, out of what is to stay free. ``tests/functional/haproxy/test_capacity.py``
holds the installed version to its figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

_KIB, _MIB = 1024, 1024 * 1024


@dataclass(frozen=True, slots=True)
class Footprint:
    """What one version takes; bytes, but for the first.

    :ivar reserved_descriptors: that a process has besides those counted one by one.
    :ivar process: of a worker with nothing in its configuration.
    :ivar master: of the master process, which executes itself anew at each reload.
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


#: By the version that they hold from; older ones, and 2.7 to 2.9, were not measured and are taken for 2.6.
FOOTPRINTS: Mapping[tuple[int, ...], Footprint] = MappingProxyType(
    {
        # 2.6.12
        (2, 6): Footprint(
            reserved_descriptors=21,
            process=4100 * _KIB,
            master=8 * _MIB,
            thread=280 * _KIB,
            frontend=13 * _KIB,
            backend=12 * _KIB,
            server=6 * _KIB,
            tls_server=14 * _KIB,
            certificate=32 * _KIB,
            tls=0,
            tls_bind=28 * _KIB,
            descriptor=66,
            pattern=340,
        ),
        # 3.0.11
        (3, 0): Footprint(
            reserved_descriptors=32,
            process=6300 * _KIB,
            master=15 * _MIB,
            thread=410 * _KIB,
            frontend=12 * _KIB,
            backend=9 * _KIB,
            server=5 * _KIB,
            tls_server=16 * _KIB,
            certificate=25 * _KIB,
            tls=0,
            tls_bind=34 * _KIB,
            descriptor=66,
            pattern=300,
        ),
        # 3.2.26
        (3, 1): Footprint(
            reserved_descriptors=21,
            process=11500 * _KIB,
            master=13 * _MIB,
            thread=390 * _KIB,
            frontend=11 * _KIB,
            backend=8 * _KIB,
            server=5 * _KIB,
            tls_server=16 * _KIB,
            certificate=24 * _KIB,
            tls=5200 * _KIB,
            tls_bind=28 * _KIB,
            descriptor=66,
            pattern=300,
        ),
        # 3.4.7
        (3, 3): Footprint(
            reserved_descriptors=21,
            process=11100 * _KIB,
            master=11 * _MIB,
            thread=590 * _KIB,
            frontend=8 * _KIB,
            backend=4 * _KIB,
            server=6 * _KIB,
            tls_server=17 * _KIB,
            certificate=24 * _KIB,
            tls=5300 * _KIB,
            tls_bind=28 * _KIB,
            descriptor=66,
            pattern=300,
        ),
    }
)

#: The one to begin with where no version is known.
OLDEST = FOOTPRINTS[2, 6]
