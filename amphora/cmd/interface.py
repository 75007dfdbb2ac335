# SPDX-License-Identifier: Apache-2.0
"""``amphora-interface``: brings stored interfaces up or down, as the agent does."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from amphora.cmd.driver_loading import load_driver
from amphora.cmd.paths import Paths
from amphora.conf.opts import AGENT_CONFIGURATION, read_configuration
from amphora.core.network.data_namespace import DataNamespace
from amphora.core.network.plug import changing_interfaces
from amphora.drivers import families
from amphora.drivers.network.base import NetworkDriver
from amphora.errors import AmphoraError, OperationFailed
from amphora.models import InterfaceConfig
from amphora.system import namespaces
from amphora.system.command import CommandRunner
from amphora.system.interfaces import interfaces

_USAGE = "usage: amphora-interface [--config-file <file>] up|down <interface>|all"
_LOOPBACK = "lo"


def main(arguments: Sequence[str] | None = None) -> int:
    """Bring one interface or all up or down; return 0, 1 when misused, or 2 when one could not be."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    path = AGENT_CONFIGURATION
    if words[:1] == ["--config-file"] and len(words) > 1:
        path, words = Path(words[1]), words[2:]
    if len(words) != 2 or words[0] not in ("up", "down"):
        print(_USAGE)
        return 1
    try:
        problems = list(_run(path, *words))
    except AmphoraError as error:
        problems = [error.details]
    for problem in problems:
        print(f"Error: Could not configure interface: {problem}")
    return 2 if problems else 0


def _run(path: Path, action: str, name: str) -> Iterator[str]:
    conf, runner = read_configuration(path), CommandRunner()
    try:
        namespaces.leave(conf.network.namespace)
    except OperationFailed:
        # In a container with a /proc of its own. The links that are here already are all it can reach.
        conf.set_override("namespace", "", group="network")
    network = load_driver(conf, families.NETWORK, runner)
    with changing_interfaces(Paths.of(conf).base):
        # Loopback comes with the namespace.
        DataNamespace(conf.network.namespace, runner).ensure()
        if name == _LOOPBACK:
            return
        chosen = _chosen(network, name)
        if action == "down":
            yield from _each(chosen, lambda config: network.deactivate(config.name))
        else:
            yield from _each(_present(network, chosen) if name == "all" else chosen, network.activate)


def _chosen(network: NetworkDriver, name: str) -> Sequence[InterfaceConfig]:
    stored = network.stored()
    chosen = [config for config in stored if name in ("all", config.name)]
    if not chosen and name != "all":
        raise OperationFailed(f"{name}: no configuration is stored")
    return chosen


def _present(network: NetworkDriver, configs: Sequence[InterfaceConfig]) -> Iterator[InterfaceConfig]:
    # Ports are taken away without a word to the amphora, and what is stored for them stays.
    present = {each.mac_address for each in (*network.interfaces(), *interfaces())}
    for config in configs:
        if config.mac_address in present:
            yield config
        else:
            print(f"{config.name} is passed over: no link has the MAC address {config.mac_address}")


def _each(
    configs: Sequence[InterfaceConfig] | Iterator[InterfaceConfig], act: Callable[[InterfaceConfig], object]
) -> Iterator[str]:
    for config in configs:
        try:
            act(config)
        except AmphoraError as error:
            yield f"{config.name}: {error.details}"


if __name__ == "__main__":
    sys.exit(main())
