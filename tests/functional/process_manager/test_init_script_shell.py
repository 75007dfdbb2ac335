# SPDX-License-Identifier: Apache-2.0
"""What a rendered init script passes on, through a real shell."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from amphora.drivers.process_manager.specs import check_spec
from amphora.drivers.process_manager.sysvinit.scripts import ScriptPaths, render_script
from amphora.models import Readiness, ServiceSpec

pytestmark = pytest.mark.real_commands

#: Prints the environment, then the arguments, each ended by a NUL.
PRINT = ("/bin/sh", "-c", "env -0; printf '%s\\0' \"$@\"", "sh")
SPEC = ServiceSpec("shelled", "A service", PRINT)

words = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"))
# What specs may hold in the value of a variable.
values = st.text(
    st.characters(
        exclude_categories=("Cs",), exclude_characters=[*map(chr, (*range(9), *range(11, 32), 127))]
    )
)
variables = st.dictionaries(st.from_regex(r"[A-Z_][A-Z0-9_]{0,8}", fullmatch=True), values, max_size=4)


@pytest.fixture
def paths(short_dir):
    return ScriptPaths(short_dir / "script", short_dir / "pid", short_dir / "lock", short_dir / "log")


def write(paths, spec):
    check_spec(spec)
    paths.script.write_text(render_script(spec, paths), encoding="utf-8")
    paths.script.chmod(0o755)


def verb(paths, name, **environment):
    """Run a verb of the script and return how it ended."""
    return subprocess.run(
        [str(paths.script), name],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=30,
        check=False,
    )


def printed(paths):
    return paths.log.read_bytes().decode("utf-8").split("\0")[:-1]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(words, min_size=1, max_size=6), variables)
def test_every_argument_and_value_survives_the_shell(paths, arguments, environment):
    paths.log.unlink(missing_ok=True)
    write(paths, replace(SPEC, argv=(*PRINT, *arguments), environment=environment))
    assert verb(paths, "run", SECRET="not for services").returncode == 0
    seen, found = printed(paths)[: -len(arguments)], printed(paths)[-len(arguments) :]
    assert found == arguments
    # The shell that prints sets these itself.
    own = {"PWD", "OLDPWD", "SHLVL", "_", "PS1", "PS2", "PS4", "IFS", "OPTIND", "PPID"}
    wanted = {f"{name}={value}" for name, value in environment.items() if name not in own | {"PATH"}}
    assert wanted <= set(seen)
    assert "SECRET=not for services" not in seen


def test_run_keeps_the_process_id_and_notes_it(paths):
    write(paths, replace(SPEC, argv=("/bin/sleep", "1000")))
    with subprocess.Popen([str(paths.script), "run"]) as process:
        try:
            executed = Path(f"/proc/{process.pid}/cmdline")
            while executed.read_bytes() != b"/bin/sleep\0" + b"1000\0":
                assert process.poll() is None
            pid, ticks, boot = paths.pid_file.read_text().split()
            assert int(pid) == process.pid
            assert ticks == Path(f"/proc/{pid}/stat").read_text().split()[21]
            assert boot == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
            status = verb(paths, "status")
            assert (status.returncode, pid in status.stdout.decode()) == (0, True)
        finally:
            process.kill()
    assert verb(paths, "status").returncode == 1


def test_readiness_socket_reaches_only_the_service(paths):
    write(paths, SPEC)
    assert verb(paths, "run", NOTIFY_SOCKET="/some where/socket").returncode == 0
    assert "NOTIFY_SOCKET=/some where/socket" in printed(paths)
    paths.log.unlink()
    assert verb(paths, "run").returncode == 0
    assert not any(line.startswith("NOTIFY_SOCKET") for line in printed(paths))


@pytest.mark.parametrize("readiness", Readiness)
@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_shells_accept_the_script(paths, shell, readiness):
    spec = replace(SPEC, readiness=readiness, namespace="some-namespace", pid_file=Path("/run/own pid"))
    write(paths, spec)
    done = subprocess.run([shell, "-n", str(paths.script)], capture_output=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_check_verb_is_the_check(paths):
    write(paths, replace(SPEC, check_argv=("/bin/sh", "-c", "echo line 5 is wrong; exit 9")))
    done = verb(paths, "check")
    assert (done.returncode, done.stdout) == (9, b"line 5 is wrong\n")
    write(paths, SPEC)
    assert verb(paths, "check").returncode == 0


@pytest.mark.skipif("os.geteuid() != 0", reason="only root can become somebody else")
def test_changes_need_root(paths):
    write(paths, SPEC)
    os.chmod(paths.script.parent, 0o755)
    for name in ("start", "stop", "restart", "reload"):
        done = subprocess.run(
            [str(paths.script), name], user=65534, capture_output=True, timeout=30, check=False
        )
        assert done.returncode == 4
