# SPDX-License-Identifier: Apache-2.0
"""``bind`` and its parameters (configuration manual, section 5.1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from amphora.haproxy.reading.addresses import Endpoint

#: Parameters followed by a value, of haproxy 2.0 to 3.x: the value may look like a parameter.
BIND_PARAMETERS_WITH_VALUE = frozenset(
    """accept-netscaler-cip alpn backlog ca-file ca-ignore-err ca-sign-file ca-sign-pass ca-verify-file cc
    ciphers ciphersuites client-sigalgs crl-file crt crt-ignore-err crt-list curves default-crt ecdhe
    expose-fd gid group guid-prefix id idle-ping interface ktls label level maxconn mode mss name namespace
    nice npn ocsp-update process proto quic-cc-algo quic-socket severity-output shards sigalgs ssl-max-ver
    ssl-min-ver tcp-md5sig tcp-ut thread tls-ticket-keys uid user verify""".split()  # noqa: SIM905
)


@dataclass(frozen=True, slots=True)
class Bind:
    """One line that makes haproxy listen.

    :ivar line: number of the line in the configuration.
    :ivar text: the addresses as written.
    :ivar ssl: it terminates TLS.
    :ivar certificates: how many certificates and lists of them it names.
    :ivar interface: name of the only network interface it listens on, or empty.
    :ivar namespace: a network namespace of its own, or empty.
    :ivar transparent: it may listen on an address this machine does not have.
    :ivar v6only: True for ``v6only``, False for ``v4v6``, None when the system decides.
    :ivar keywords: all of its parameters, without their values.
    """

    line: int
    text: str
    endpoints: tuple[Endpoint, ...]
    ssl: bool = False
    certificates: int = 0
    interface: str = ""
    namespace: str = ""
    transparent: bool = False
    v6only: bool | None = None
    keywords: frozenset[str] = frozenset()


def parse_bind(line: int, text: str, endpoints: tuple[Endpoint, ...], parameters: Sequence[str]) -> Bind:
    """Return a bind line from its address and the words after it. Unknown words are ignored."""
    ssl = transparent = False
    v6only: bool | None = None
    values: dict[str, str] = {}
    certificates = 0
    keywords: set[str] = set()
    for keyword, value in _pairs(parameters):
        keywords.add(keyword)
        ssl = ssl or keyword == "ssl"
        transparent = transparent or keyword == "transparent"
        if keyword in ("v6only", "v4v6"):
            v6only = keyword == "v6only"
        certificates += keyword in ("crt", "default-crt", "crt-list")
        values[keyword] = value
    return Bind(
        line,
        text,
        endpoints,
        ssl=ssl,
        certificates=certificates,
        interface=values.get("interface", ""),
        namespace=values.get("namespace", ""),
        transparent=transparent,
        v6only=v6only,
        keywords=frozenset(keywords),
    )


def _pairs(parameters: Sequence[str]) -> Iterator[tuple[str, str]]:
    words = iter(parameters)
    for keyword in words:
        yield keyword, next(words, "") if keyword in BIND_PARAMETERS_WITH_VALUE else ""
