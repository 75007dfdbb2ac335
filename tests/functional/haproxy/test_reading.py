# SPDX-License-Identifier: Apache-2.0
"""Our reader against haproxy's own: same words, same addresses."""

import random
import re
import shutil
from pathlib import Path

import pytest

from amphora.errors import InvalidConfiguration
from amphora.haproxy.reading.configuration import parse
from amphora.haproxy.reading.lines import split_words
from amphora.haproxy.reading.references import referenced_files
from amphora.system.sockets import Transport, listening_sockets
from amphora.testing.pki import Pki

SAMPLES = Path(__file__).parents[2] / "unit" / "haproxy" / "data"
ODD_LINES = [
    r"a\ b c",
    r"a'b c'd e",
    'a"b c"d e',
    r"x\x41\x42 c",
    r"\1\z c",
    r"a\#b c",
    "a#b c",
    r"'it'\''s' c",
    r'"a\"b" c',
    r'"a\$b\x2d" c',
    "a\u00a0b c",
    "é\\\\ü c",
    "a\vb c",
    "cut\rhere",
]


def alerts(haproxy, text):
    """Return what haproxy says of each line of a frontend section that it does not understand."""
    haproxy.upload.write_bytes(f"frontend f\n bind :1\n{text}".encode())
    with pytest.raises(InvalidConfiguration) as refusal:
        haproxy.program.check([haproxy.upload])
    return dict(
        re.findall(
            r"\.cfg:(\d+)\] : unknown keyword '(.*?)' in 'frontend' section", refusal.value.details, re.S
        )
    )


def random_lines(count):
    source = random.Random(20)
    pieces = ["a", "é", "'b c'", '"d e"', r"\ ", r"\\", r"\#", r"\"", r"\'", r"\x41", r"\q", "z"]
    return ["x" + "".join(source.choices(pieces, k=6)) for _ in range(count)]


@pytest.mark.parametrize("start", range(0, 56, 8))
def test_words_are_those_that_haproxy_sees(haproxy, start):
    # haproxy gives up after some errors, so a few lines at a time.
    lines = (ODD_LINES + random_lines(42))[start : start + 8]
    said = alerts(haproxy, "\n".join(lines) + "\n")
    assert [said[str(number)] for number in range(3, 3 + len(lines))] == [
        split_words(line)[0][0] for line in lines
    ]


@pytest.mark.parametrize("name", ["load_balancer", "single_listener"])
def test_samples_are_valid_for_haproxy(haproxy, short_dir, name):
    text = (SAMPLES / f"{name}.cfg").read_text().replace("/var/lib/octavia", str(short_dir))
    pki = Pki(short_dir)
    for file in (Path(reference.path) for reference in referenced_files(parse(text.encode()).lines)):
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(pki.ca_path, file)
        if "crt-list" in text and file.name.startswith("11"):
            file.write_text(f"{pki.server().path}\n")
    haproxy.write(text)
    assert haproxy.check(local_peer="AKyjUX7exN73rl7_5RLzyrLJ5Qg").endswith("Configuration file is valid")


def test_every_address_that_we_read_haproxy_listens_on(haproxy, serving, free_port, eventually):
    one, two, *others = (free_port() for _ in range(6))
    hosts = ("*", "::1", "[::1]", ":::{} v6only")
    binds = [f"127.0.0.1:{one},:{two}"]
    binds += [
        host.format(port) if "{}" in host else f"{host}:{port}"
        for host, port in zip(hosts, others, strict=True)
    ]
    configuration = haproxy.write(serving(*binds))
    haproxy.spawn()
    endpoints = [endpoint for bind in configuration.listening() for endpoint in bind.endpoints]
    expected = {(endpoint.host, endpoint.ports[0]) for endpoint in endpoints if endpoint.host is not None}
    assert len(expected) == 6

    def listening():
        return {(listener.address, listener.port) for listener in listening_sockets(Transport.TCP)}

    assert eventually(lambda: expected <= listening())
