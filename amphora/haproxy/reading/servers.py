# SPDX-License-Identifier: Apache-2.0
"""``server``, ``server-template`` and ``default-server`` (configuration manual, section 5.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

#: Parameters of servers that take a value: the value may look like a parameter.
SERVER_PARAMETERS_WITH_VALUE = frozenset(
    """addr agent-addr agent-inter agent-port agent-send alpn ca-file check-alpn check-proto check-sni
    check-via-socks4 ciphers ciphersuites cookie crl-file crt curves downinter error-limit fall fastinter id
    init-addr inter log-bufsize log-proto max-reuse maxconn maxqueue minconn namespace npn observe on-error
    on-marked-down on-marked-up pool-conn-name pool-low-conn pool-max-conn pool-purge-delay port proto
    proxy-v2-options redir resolve-net resolve-opts resolve-prefer resolvers rise set-proxy-v2-tlv-fmt shard
    sigalgs client-sigalgs slowstart sni socks4 source ssl-max-ver ssl-min-ver tcp-md5sig tcp-ut track verify
    verifyhost weight ws""".split()  # noqa: SIM905
)
_MAKES_CHECKED = frozenset({"check", "agent-check", "track"})
_TEMPLATE_LIMIT = 10_000


@dataclass(frozen=True, slots=True)
class Server:
    """One server of a backend.

    :ivar checked: its health is checked, so its status means something.
    :ivar disabled: it starts in maintenance.
    """

    name: str
    line: int
    checked: bool = False
    disabled: bool = False


@dataclass(frozen=True, slots=True)
class ServerDefaults:
    """What ``default-server`` lines have set for the servers after them."""

    checked: bool = False
    disabled: bool = False

    def apply(self, parameters: Sequence[str]) -> ServerDefaults:
        """Return these settings changed by the parameters of a line."""
        settings = self
        words = iter(parameters)
        for word in words:
            if word in _MAKES_CHECKED or word == "no-check":
                settings = replace(settings, checked=word in _MAKES_CHECKED)
            elif word in ("disabled", "enabled"):
                settings = replace(settings, disabled=word == "disabled")
            if word in SERVER_PARAMETERS_WITH_VALUE:
                next(words, "")
        return settings


def parse_server(line: int, words: Sequence[str], defaults: ServerDefaults) -> Server | None:
    """Return the server of ``server NAME ADDRESS …``, or None when the name is missing."""
    if len(words) < 2:
        return None
    settings = defaults.apply(words[3:])
    return Server(words[1], line, settings.checked, settings.disabled)


def parse_template(line: int, words: Sequence[str], defaults: ServerDefaults) -> tuple[Server, ...]:
    """Return the servers of ``server-template PREFIX NUMBERS ADDRESS …``; none when it is odd."""
    if len(words) < 3:
        return ()
    first, separator, last = words[2].partition("-")
    if not separator:
        first, last = "1", first
    if not (first.isdecimal() and last.isdecimal() and len(first) < 6 and len(last) < 6):
        return ()
    settings = defaults.apply(words[4:])
    numbers = range(int(first), int(last) + 1)[:_TEMPLATE_LIMIT]
    return tuple(Server(f"{words[1]}{n}", line, settings.checked, settings.disabled) for n in numbers)
