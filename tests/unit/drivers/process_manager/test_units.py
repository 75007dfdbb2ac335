# SPDX-License-Identifier: Apache-2.0
"""Rendered unit files, against golden files and against a reading of systemd.syntax(7)."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.drivers.process_manager.systemd.units import UNIT, quote_word, render_unit
from amphora.errors import ServiceError
from amphora.models import Readiness, RestartPolicy, ServiceSpec
from tests.support.service_specs import GOLDEN, HAPROXY, PLAIN

AWKWARD = ServiceSpec(
    name="awkward",
    description="100% of\nall $things \\",
    argv=(
        "/opt/my program/run",
        "two words",
        "100%",
        "$HOME",
        'a "quote"',
        "back\\slash",
        "",
        "line\nbreak",
        ";",
    ),
    environment={"GREETING": "hello % world", "B": "grüße"},
    pid_file=Path("/run/100%.pid"),
    restart=RestartPolicy(on_crash=False, delay=0),
    readiness=Readiness.FORKING,
)


SPECS = pytest.mark.parametrize("spec", [PLAIN, HAPROXY, AWKWARD], ids=lambda spec: spec.name)


@SPECS
def test_renders_as_the_golden_file_says(spec):
    # After a change on purpose write the new text there and read the difference.
    assert render_unit(spec, 253) == (GOLDEN / f"{spec.name}.service").read_text(encoding="utf-8")


@pytest.mark.parametrize("spec", [PLAIN, HAPROXY], ids=lambda spec: spec.name)
def test_delay_grows_where_systemd_can_do_that(spec):
    golden = GOLDEN / f"{spec.name}.since-254.service"
    assert render_unit(spec, 254) == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "policy",
    [RestartPolicy(on_crash=False), RestartPolicy(delay=5, max_delay=5), RestartPolicy(delay=5, max_delay=1)],
)
def test_delay_that_cannot_grow_is_fixed(policy):
    spec = replace(HAPROXY, restart=policy)
    assert render_unit(spec, 257) == render_unit(spec, 252)


@given(st.floats(0, 1e4), st.floats(0, 1e6))
def test_growing_delay_is_one_that_systemd_accepts(delay, longest):
    unit = render_unit(replace(PLAIN, restart=RestartPolicy(delay=delay, max_delay=longest)), 257)
    values = dict(line.split("=", 1) for line in unit.splitlines() if line.startswith("Restart"))
    if "RestartSteps" in values:
        assert int(values["RestartSteps"]) > 0
        assert int(values["RestartMaxDelaySec"][:-2]) >= int(values["RestartSec"][:-2]) > 0


@SPECS
def test_unit_gives_its_spec_back(spec):
    assert UNIT.read(render_unit(spec, 252)) == spec


def test_unit_of_somebody_else_has_no_spec():
    assert UNIT.read("[Service]\nExecStart=/bin/true\n") is None


@pytest.mark.parametrize("tail", ["", "\n[X-AmphoraAgent]\nSpec={", "\n[X-AmphoraAgent]\nSpec={}\n"])
def test_damaged_unit_is_reported(tail):
    with pytest.raises(ServiceError, match="damaged"):
        UNIT.read(UNIT.header + tail)


TOKEN = re.compile(
    r"""\\x(?P<hex>[0-9a-f]{2}) | \\(?P<escape>["\\nrt]) |
    (?P<quote>") | (?P<percent>%%) | (?P<plain>[^"\\%])""",
    re.VERBOSE | re.DOTALL,
)
ESCAPED = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}


def read_words(line):
    """Split a line as systemd.syntax(7) says: quotes, C escapes, and ``%%`` for a percent sign."""
    words, word, quoted, position = [], None, False, 0
    while position < len(line):
        token = TOKEN.match(line, position)
        assert token, f"not valid at {position}: {line!r}"
        position = token.end()
        if token["plain"] == " " and not quoted:
            words, word = (words if word is None else [*words, word]), None
            continue
        word = word or ""
        if token["quote"]:
            quoted = not quoted
        elif token["hex"]:
            word += chr(int(token["hex"], 16))
        else:
            word += ESCAPED[token["escape"]] if token["escape"] else (token["percent"] or token["plain"])[0]
    assert not quoted
    return words if word is None else [*words, word]


words = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"))


@given(st.lists(words))
def test_quoted_words_are_read_back(argv):
    line = " ".join(quote_word(word) for word in argv)
    assert read_words(line) == argv
    assert not set(line) & set("\n\r\t")


@given(words, words, st.lists(words), st.dictionaries(st.from_regex(r"[A-Z]+", fullmatch=True), words))
def test_no_value_escapes_from_its_line(description, name, argv, environment):
    spec = replace(PLAIN, description=description, argv=("/bin/x", *argv), environment=environment)
    lines = render_unit(spec, 252).split("\n")
    usual = [line.partition("=")[0] for line in render_unit(PLAIN, 252).split("\n")]
    keys = [line.partition("=")[0] for line in lines]
    assert [key for key in keys if key != "Environment"] == [key for key in usual if key != "Environment"]
    assert not any(line.endswith("\\") for line in lines)
    assert UNIT.read("\n".join(lines)) == spec


def test_commands_are_not_subject_to_variables():
    commands = [line for line in render_unit(HAPROXY, 252).splitlines() if line.startswith("Exec")]
    assert len(commands) == 4
    assert all(line.partition("=")[2].startswith(":/") for line in commands)
