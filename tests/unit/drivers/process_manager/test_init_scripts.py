# SPDX-License-Identifier: Apache-2.0
"""Rendered init scripts, against golden files and against a reading of the shell's quoting rules."""

import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.drivers.process_manager.sysvinit.scripts import SCRIPT, ScriptPaths, render_script
from amphora.errors import ServiceError
from amphora.models import Readiness, RestartPolicy, ServiceSpec
from tests.support.service_specs import GOLDEN, HAPROXY, PLAIN

AWKWARD = ServiceSpec(
    name="awkward",
    description="100% of\nall $things \\\n### END INIT INFO",
    argv=(
        "/opt/my=program/run",
        "two words",
        "$HOME",
        "it's",
        'a "quote"',
        "back\\slash",
        "",
        "line\nbreak",
        ";",
    ),
    environment={"GREETING": "hello 'world'", "B": "grüße\n# Spec: {}"},
    pid_file=Path("/run/my pid"),
    restart=RestartPolicy(on_crash=False, delay=0),
    readiness=Readiness.FORKING,
    stop_timeout=0.2,
)

SPECS = pytest.mark.parametrize("spec", [PLAIN, HAPROXY, AWKWARD], ids=lambda spec: spec.name)


def paths_of(name):
    return ScriptPaths(
        Path("/etc/init.d", name),
        Path(f"/run/amphora-service.{name}.pid"),
        Path(f"/run/amphora-service.{name}.lock"),
        Path(f"/var/lib/octavia/services/{name}.log"),
    )


def rendered(spec):
    return render_script(spec, paths_of(spec.name))


@SPECS
def test_renders_as_the_golden_file_says(spec):
    # After a change on purpose write the new text there and read the difference.
    assert rendered(spec) == (GOLDEN / f"{spec.name}.init").read_text(encoding="utf-8")


@SPECS
def test_script_gives_its_spec_back(spec):
    assert SCRIPT.read(rendered(spec)) == spec


def test_script_of_somebody_else_has_no_spec():
    assert SCRIPT.read("#!/bin/sh\n### BEGIN INIT INFO\n") is None


@pytest.mark.parametrize("tail", ["", "\n# Spec: {", "\n# Spec: {}\n"])
def test_damaged_script_is_reported(tail):
    with pytest.raises(ServiceError, match="damaged"):
        SCRIPT.read(SCRIPT.header + tail)


def lsb_header(script):
    """Return the header as insserv(8) reads it: from its first line to the first that ends it."""
    lines = script.splitlines()
    begin = lines.index("### BEGIN INIT INFO")
    end = lines.index("### END INIT INFO")
    fields = (line.removeprefix("# ").partition(":") for line in lines[begin + 1 : end])
    return {name: value.strip() for name, _, value in fields}


def test_header_orders_the_service():
    assert lsb_header(rendered(HAPROXY)) == {
        "Provides": "haproxy-8a1b",
        "Required-Start": "$local_fs $network",
        "Required-Stop": "$local_fs $network",
        "Should-Start": "amphora-netns",
        "Should-Stop": "amphora-netns",
        "X-Start-Before": "amphora-agent",
        "X-Stop-After": "amphora-agent",
        "Default-Start": "2 3 4 5",
        "Default-Stop": "0 1 6",
        "Short-Description": "Load balancer 8a1b",
    }
    assert "amphora-netns" not in rendered(PLAIN)


words = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"))
variables = st.dictionaries(st.from_regex(r"[A-Z]+", fullmatch=True), words)


@given(words, st.lists(words), variables)
def test_every_value_stays_within_its_quotes(description, argv, environment):
    spec = replace(PLAIN, description=description, argv=("/bin/x", *argv), environment=environment)
    script = rendered(spec)
    assert SCRIPT.read(script) == spec
    assert lsb_header(script).keys() == lsb_header(rendered(PLAIN)).keys()
    read = shlex.split(script.partition("\nexport PATH=")[2].partition("\nsay() {")[0], comments=True)
    service = read.index("run_service()")
    assert read[service + 2 : service + 4] == ["enter", "/bin/x"]
    assert read[service + 4 : service + 4 + len(argv)] == argv
    own = {"HOME", "LANG", "LC_ALL", "PATH"}
    assert {f"{name}={value}" for name, value in environment.items() if name not in own} <= set(read)
