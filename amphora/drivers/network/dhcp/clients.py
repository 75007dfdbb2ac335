# SPDX-License-Identifier: Apache-2.0
"""The DHCP clients that images have, and how each is started so that it changes one interface and no more."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from amphora.drivers.network.dhcp.script import DHCP_SCRIPT, KEEPS_MTU, MARK
from amphora.errors import OperationFailed
from amphora.models import InterfaceConfig
from amphora.system import files

# Ends when the client is in the background; what it prints would keep a pipe open.
_IN_BACKGROUND = ("/bin/sh", "-c", 'exec "$@" >/dev/null 2>&1 &', "sh")
# A directory of its own in the mount namespace that ip-netns(8) makes: interfaces of two namespaces may
# have one name, and dhcpcd names its pid file by that alone.
_WITH_RUN_DIRECTORY = (
    "/bin/sh",
    "-c",
    'mkdir -p /run/dhcpcd "$0" && mount --bind "$0" /run/dhcpcd && exec "$@"',
)


@dataclass(frozen=True, slots=True)
class Places:
    """Where clients keep what they need; tests give others.

    :ivar run: pid files.
    :ivar dhclient: its configuration and script. Debian's AppArmor profile lets it read in this directory
        only, and run only ``dhclient-script`` there.
    :ivar udhcpc: its script.
    """

    run: Path = Path("/run")
    dhclient: Path = Path("/etc/dhcp")
    udhcpc: Path = Path("/etc/udhcpc")


@dataclass(frozen=True, slots=True)
class Command:
    """What starts a client in the background; it returns at once."""

    argv: tuple[str, ...]
    environment: dict[str, str]


class Client(abc.ABC):
    """One DHCP client, for interfaces of one namespace.

    :cvar program: its command, and how its processes call themselves.
    :param owner: the namespace, or where that is the agent's own, the machine.
    """

    program: str

    def __init__(self, owner: str, namespace: str, places: Places) -> None:
        self._owner = owner
        self._namespace = namespace
        self._places = places

    @abc.abstractmethod
    def prepare(self) -> None:
        """Write the files that it is started with. Safe to repeat.

        :raises AmphoraError: they could not be written, or stand there by another program.
        """

    @abc.abstractmethod
    def command(self, path: str, config: InterfaceConfig) -> Command:
        """Return what starts the program at ``path`` for an interface."""

    @abc.abstractmethod
    def pid_files(self, name: str) -> Sequence[Path]:
        """Return where its process id may stand: this agent's place, and those of others."""

    def _own_pid_file(self, name: str) -> Path:
        # Namespaces share the directory, and each may have an eth2.
        return self._places.run / f"{self.program}-{self._owner}-{name}.pid"


class Dhclient(Client):
    """ISC dhclient(8): Debian up to 13, Red Hat up to 9."""

    program = "dhclient"

    #: Debian's and Red Hat's directories of leases; mandatory access control allows no others.
    _LEASES = (Path("/var/lib/dhcp"), Path("/var/lib/dhclient"))
    # No routers and no name servers: a tenant's network must not steer the agent's VM.
    _CONFIGURATION = (
        "option rfc3442-classless-static-routes code 121 = array of unsigned integer 8;\n"
        "request subnet-mask, broadcast-address, interface-mtu, rfc3442-classless-static-routes;\n"
        "retry 15;\n"
    )

    def prepare(self) -> None:
        """See the contract."""
        files.ensure_directory(self._places.dhclient)
        files.write_atomically(self._configuration, self._CONFIGURATION.encode(), 0o644)
        _write_script(self._script)

    def command(self, path: str, config: InterfaceConfig) -> Command:
        """See the contract."""
        name = config.name
        leases = next((each for each in self._LEASES if each.is_dir()), self._places.run)
        argv = [path, "-4", "-nw", "-pf", str(self._own_pid_file(name))]
        argv += ["-cf", str(self._configuration), "-sf", str(self._script)]
        argv += ["-lf", str(leases / f"dhclient-{name}.leases")]
        # It gives its script no environment but this.
        argv += ["-e", f"{KEEPS_MTU}=yes"] if config.mtu else []
        return Command((*argv, name), {})

    def pid_files(self, name: str) -> Sequence[Path]:
        """See the contract. The second is where Octavia's own agent has it."""
        return self._own_pid_file(name), self._places.run / f"dhclient-{name}.pid"

    @property
    def _configuration(self) -> Path:
        return self._places.dhclient / "amphora-dhclient.conf"

    @property
    def _script(self) -> Path:
        return self._places.dhclient / "dhclient-script"


class Dhcpcd(Client):
    """dhcpcd(8), 9 and 10. It configures the interface itself: only its hooks steer the machine."""

    program = "dhcpcd"

    def prepare(self) -> None:
        """See the contract. Nothing: all is in its arguments."""

    def command(self, path: str, config: InterfaceConfig) -> Command:
        """See the contract. Neither the machine's configuration, nor hooks, nor default routes."""
        argv = [path, "-4", "--background", "--config", "/dev/null", "--script", "/dev/null", "--nogateway"]
        # An address of its own choice would pass for one; the probe for others that have it takes 5 s.
        argv += ["--noipv4ll", "--noarp", "--clientid="]
        argv += ["--nooption", "interface_mtu"] if config.mtu else ["--option", "interface_mtu"]
        argv += ["--option", "classless_static_routes", config.name]
        if self._namespace:
            argv = [*_WITH_RUN_DIRECTORY, str(self._directory), *argv]
        return Command(tuple(argv), {})

    def pid_files(self, name: str) -> Sequence[Path]:
        """See the contract."""
        return (self._directory / f"{name}-4.pid",)

    @property
    def _directory(self) -> Path:
        return self._places.run / (f"dhcpcd-{self._owner}" if self._namespace else "dhcpcd")


class Udhcpc(Client):
    """busybox' udhcpc."""

    program = "udhcpc"

    def prepare(self) -> None:
        """See the contract."""
        files.ensure_directory(self._places.udhcpc)
        _write_script(self._script)

    def command(self, path: str, config: InterfaceConfig) -> Command:
        """See the contract."""
        name = config.name
        argv = (path, "-f", "-S", "-i", name, "-p", str(self._own_pid_file(name)), "-s", str(self._script))
        options = ("-o", *(word for each in ("subnet", "mtu", "staticroutes") for word in ("-O", each)))
        environment = {KEEPS_MTU: "yes"} if config.mtu else {}
        return Command((*_IN_BACKGROUND, *argv, *options), environment)

    def pid_files(self, name: str) -> Sequence[Path]:
        """See the contract."""
        return (self._own_pid_file(name),)

    @property
    def _script(self) -> Path:
        return self._places.udhcpc / "amphora.script"


#: In the order of preference: the first that is installed is used.
CLIENTS: Sequence[type[Client]] = (Dhclient, Dhcpcd, Udhcpc)


def _write_script(path: Path) -> None:
    former = files.read_if_present(path)
    if former is not None and MARK.encode() not in former:
        raise OperationFailed(f"{path} exists and was not written by amphora-agent; move it away")
    if former != DHCP_SCRIPT.encode():
        files.write_atomically(path, DHCP_SCRIPT.encode(), 0o755)
