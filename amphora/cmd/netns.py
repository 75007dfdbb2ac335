# SPDX-License-Identifier: Apache-2.0
"""``amphora-netns``: what load balancers need of the network at boot, before the agent and without it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from amphora.cmd.driver_loading import load_driver
from amphora.cmd.network_wiring import make_operations, make_plug, stored_topology
from amphora.cmd.paths import Paths
from amphora.conf.opts import AGENT_CONFIGURATION, read_configuration
from amphora.core.changes.locks import InstanceLocks
from amphora.core.network.data_namespace import DataNamespace
from amphora.core.network.interface_rules import InterfaceRules
from amphora.drivers import families
from amphora.errors import AmphoraError
from amphora.system import namespaces
from amphora.system.advertisements import advertise
from amphora.system.command import CommandRunner
from amphora.system.nftables import Nftables

_USAGE = "usage: amphora-netns [--config-file <file>]"


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the namespace and bring back every port in it; return 0, 1 when misused, 2 without a namespace.

    What cannot be brought back is printed: load balancers that do not need it should run.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and (words[0] != "--config-file" or len(words) != 2):
        print(_USAGE, file=sys.stderr)
        return 1
    try:
        problems = list(_recover(Path(words[1]) if words else AGENT_CONFIGURATION))
    except AmphoraError as error:
        print(f"amphora-netns: {error.details}", file=sys.stderr)
        return 2
    for problem in problems:
        print(f"amphora-netns: {problem}", file=sys.stderr)
    return 0


def _recover(path: Path) -> Iterator[str]:
    conf, runner, locks = read_configuration(path), CommandRunner(), InstanceLocks()
    namespaces.leave(conf.network.namespace)
    namespace, operations = DataNamespace(conf.network.namespace, runner), make_operations(conf)
    namespace.prepare()
    nftables = Nftables(runner, namespace.name)
    rules = InterfaceRules(Paths.of(conf).base, nftables, locks, namespace.ensure, operations)
    plug = make_plug(
        conf,
        load_driver(conf, families.NETWORK, runner),
        locks,
        operations,
        rules,
        stored_topology(conf),
        partial(advertise, namespace=namespace.name),
    )
    for step in (rules.recover, plug.recover):
        yield from _problem(step)


def _problem(step: Callable[[], None]) -> Iterator[str]:
    try:
        step()
    except AmphoraError as error:
        yield error.details


if __name__ == "__main__":
    sys.exit(main())
