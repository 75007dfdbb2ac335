# SPDX-License-Identifier: Apache-2.0
"""``server``, ``server-template`` and ``default-server`` (configuration manual, section 5.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

#: Parameters followed by free text, which could look like a parameter itself.
_WITH_FREE_TEXT = frozenset(
    """addr agent-addr agent-send check-sni cookie error-limit id init-addr name namespace observe
    on-error on-marked-down on-marked-up pool-conn-name proto redir
    resolvers sni socks4 source weight""".split()  # noqa: SIM905
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
            if word in _WITH_FREE_TEXT:
                next(words, "")
            elif word in _MAKES_CHECKED or word == "no-check":
                settings = replace(settings, checked=word in _MAKES_CHECKED)
            elif word in ("disabled", "enabled"):
                settings = replace(settings, disabled=word == "disabled")
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
