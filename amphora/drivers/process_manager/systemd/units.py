# SPDX-License-Identifier: Apache-2.0
"""Render a service as a systemd unit file (systemd.service(5), systemd.syntax(7))."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from amphora.drivers.process_manager.specs import MARK, SpecFormat
from amphora.models import Readiness, ServiceSpec
from amphora.system.command import clean_environment

# systemd ignores sections that begin with X-, so a unit can carry its own spec.
UNIT = SpecFormat("unit", header=MARK, prefix="[X-AmphoraAgent]\nSpec=")

_PLAIN_WORD = re.compile(r"[A-Za-z0-9_./,@+:=-]+")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r", "%": "%%"}

_TYPES = {Readiness.NOTIFY: "notify", Readiness.EXEC: "exec", Readiness.FORKING: "forking"}

#: What makes the network namespace at boot: the image's own, that of Octavia's agent, or one written here.
NAMESPACE_UNIT = "amphora-netns.service"

# The first release with RestartSteps= and RestartMaxDelaySec=; an older one would complain about them.
_RELEASE_WITH_BACKOFF = 254


# Other than MARK: this unit carries no spec.
NAMESPACE_HEADER = (
    "# Written by amphora-agent where no other unit makes the namespace; changes are overwritten."
)


def render_namespace_unit(argv: tuple[str, ...]) -> str:
    """Return the unit that makes the namespace at boot and brings its interfaces up, without the agent.

    :param argv: the command that does it. DHCP clients that it starts stay.
    """
    return "\n".join(
        (
            NAMESPACE_HEADER,
            "[Unit]",
            "Description=Network namespace of load balancers, with its interfaces",
            "After=systemd-sysctl.service systemd-modules-load.service",
            "Before=amphora-agent.service",
            "ConditionPathIsDirectory=/var/lib/octavia",
            "",
            "[Service]",
            "Type=oneshot",
            "RemainAfterExit=yes",
            f"ExecStart={_command(argv)}",
            "TimeoutStartSec=120s",
            "KillMode=process",
            "",
            "[Install]",
            "WantedBy=multi-user.target",
            "",
        )
    )


def render_unit(spec: ServiceSpec, release: int) -> str:
    """Return the unit file of a checked spec; equal specs give equal text.

    :param release: of the systemd that reads it: it gets no setting unknown to it.
    """
    sections = (
        MARK,
        "[Unit]",
        f"Description={_line(spec.description)}",
        *_dependencies(spec),
        # Else a crash loop would end in a unit that is not restarted.
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        *_service_section(spec, release),
        "",
        "[Install]",
        "WantedBy=multi-user.target",
        "",
        UNIT.line(spec),
        "",
    )
    return "\n".join(sections)


def quote_word(word: str) -> str:
    """Return a word as it must stand in ExecStart= and Environment= to be taken literally.

    ``$`` needs no quoting, as all commands here carry the prefix ``:``.
    """
    if _PLAIN_WORD.fullmatch(word):
        return word
    return '"' + "".join(_quote_character(character) for character in word) + '"'


def _quote_character(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if ord(character) < 0x20 or ord(character) == 0x7F:
        return f"\\x{ord(character):02x}"
    return character


def _dependencies(spec: ServiceSpec) -> Iterator[str]:
    if spec.namespace:
        # Both have no effect if there is no such unit; Requires= would then refuse every start.
        yield f"Wants={NAMESPACE_UNIT}"
        yield f"After={NAMESPACE_UNIT}"


def _service_section(spec: ServiceSpec, release: int) -> Iterator[str]:
    yield f"Type={_TYPES[spec.readiness]}"
    if spec.pid_file is not None and spec.readiness is Readiness.FORKING:
        yield f"PIDFile={str(spec.pid_file).replace('%', '%%')}"
    if spec.namespace:
        # Rather than ``ip netns exec`` before each command: it holds for the checks too, and what
        # runs is then the service's own command in every view.
        yield f"NetworkNamespacePath=/run/netns/{spec.namespace}"
    for name, value in sorted(clean_environment(spec.environment).items()):
        yield f"Environment={quote_word(f'{name}={value}')}"
    if spec.check_argv:
        yield f"ExecStartPre={_command(spec.check_argv)}"
    yield f"ExecStart={_command(spec.argv)}"
    if spec.check_argv:
        yield f"ExecReload={_command(spec.check_argv)}"
    # The shell's own kill: a minimal image has no /bin/kill.
    signal_name = spec.reload_signal.name.removeprefix("SIG")
    yield f"ExecReload={_command(('/bin/sh', '-c', f'kill -s {signal_name} $MAINPID'))}"
    yield "KillMode=mixed"
    yield from _restart(spec, release)
    yield f"TimeoutStartSec={_milliseconds(spec.start_timeout)}"
    yield "TimeoutStartFailureMode=kill"
    yield f"TimeoutStopSec={_milliseconds(spec.stop_timeout)}"
    # haproxy's master ends so after SIGTERM.
    yield "SuccessExitStatus=143"
    # As images ask for; where the machine allows less, systemd takes the most there is.
    yield "LimitNOFILE=2600000"


def _restart(spec: ServiceSpec, release: int) -> Iterator[str]:
    delay, longest = max(spec.restart.delay, 0.001), spec.restart.max_delay
    yield f"Restart={'always' if spec.restart.on_crash else 'no'}"
    yield f"RestartSec={_milliseconds(delay)}"
    if release < _RELEASE_WITH_BACKOFF or not spec.restart.on_crash or longest <= delay:
        return
    # Doubles with each restart.
    yield f"RestartSteps={math.ceil(math.log2(longest / delay))}"
    yield f"RestartMaxDelaySec={_milliseconds(longest)}"
    if spec.readiness is not Readiness.EXEC:
        # systemd counts restarts for as long as the machine runs, so one crash a month would end in the
        # longest delay. A service that has become ready begins anew.
        yield f"ExecStartPost=-:systemctl --quiet reset-failed {spec.name}.service"


def _command(argv: tuple[str, ...]) -> str:
    """Return an argv as one command line; the prefix keeps systemd from replacing variables."""
    return ":" + " ".join(quote_word(word) for word in argv)


def _line(text: str) -> str:
    """Return text as the rest of a line: one line, no specifiers, no continuation."""
    return " ".join(text.split()).rstrip("\\ ").replace("%", "%%")


def _milliseconds(seconds: float) -> str:
    # Zero would mean "no limit", so the smallest time is a millisecond.
    return f"{max(1, math.ceil(seconds * 1000))}ms"
