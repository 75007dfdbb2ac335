# SPDX-License-Identifier: Apache-2.0
"""How the systemd process manager meets failures of systemd, which a real one shows too seldom."""

from dataclasses import replace
from pathlib import Path

import pytest

from amphora.drivers.process_manager.systemd import SystemdProcessManager
from amphora.drivers.process_manager.systemd.bus import UnitState
from amphora.drivers.process_manager.systemd.units import NAMESPACE_UNIT, render_namespace_unit, render_unit
from amphora.errors import CommandTimeout, ServiceError
from amphora.models import ServiceSpec, ServiceState
from amphora.system.command import CommandResult, CommandRunner

SPEC = ServiceSpec("web", "A service", ("/bin/web",))
OFF = UnitState("inactive", "dead", False, False, "success", 0, 0, 0, "", "")


class ScriptedRunner(CommandRunner):
    """Answers commands by their first matching word; notes all of them."""

    def __init__(self, **answers):
        self.answers = answers
        self.commands = []

    def run(self, argv, *, timeout, namespace="", environment=None):
        self.commands.append(" ".join(word for word in argv if not word.startswith("-")))
        for word, answer in self.answers.items():
            if word in self.commands[-1]:
                if isinstance(answer, Exception):
                    raise answer
                return CommandResult(tuple(argv), *answer)
        return CommandResult(tuple(argv), 0, "")


class ScriptedBus:
    """Tells the same state of every unit."""

    def __init__(self, state=OFF):
        self.state = state

    def unit(self, name):
        return self.state

    def release(self):
        return 252

    def close(self):
        pass


def build(tmp_path, runner, state=OFF, namespace=""):
    return SystemdProcessManager(runner, unit_directory=tmp_path, bus=ScriptedBus(state), namespace=namespace)


def unit_file(tmp_path):
    return tmp_path / "web.service"


def test_install_writes_the_unit_and_tells_systemd(tmp_path):
    runner = ScriptedRunner()
    build(tmp_path, runner).install(SPEC)
    assert unit_file(tmp_path).read_text() == render_unit(SPEC, 252)
    assert unit_file(tmp_path).stat().st_mode & 0o777 == 0o644
    assert runner.commands == ["systemctl daemon-reload"]


def test_install_again_does_nothing(tmp_path):
    build(tmp_path, ScriptedRunner()).install(SPEC)
    runner = ScriptedRunner()
    build(tmp_path, runner).install(SPEC)
    assert runner.commands == []


def test_failed_first_install_leaves_nothing(tmp_path):
    runner = ScriptedRunner(**{"daemon-reload": (1, "no room")})
    with pytest.raises(ServiceError, match="no room"):
        build(tmp_path, runner).install(SPEC)
    assert list(tmp_path.iterdir()) == []


def test_failed_change_leaves_the_former_unit(tmp_path):
    build(tmp_path, ScriptedRunner()).install(SPEC)
    runner = ScriptedRunner(**{"daemon-reload": CommandTimeout(["systemctl"], 10)})
    with pytest.raises(ServiceError, match="did not finish"):
        build(tmp_path, runner).install(replace(SPEC, description="Changed"))
    assert unit_file(tmp_path).read_text() == render_unit(SPEC, 252)


def test_failed_start_is_undone_and_explained(tmp_path):
    failed = replace(
        OFF, active_state="failed", result="exit-code", exit_code=1, exit_status=3, invocation="ab"
    )
    runner = ScriptedRunner(**{" start ": (1, "Job failed"), "journalctl": (0, "cannot bind\n")})
    manager = build(tmp_path, runner, failed)
    manager.install(SPEC)
    with pytest.raises(ServiceError, match="Job failed.*exit status 3.*cannot bind"):
        manager.start("web")
    assert [command.split()[1] for command in runner.commands[-3:]] == ["disable", "stop", "reset-failed"]
    assert (
        "cannot bind" in manager.status("web").last_error
        or "exit status 3" in manager.status("web").last_error
    )


def test_start_is_explained_without_a_journal_too(tmp_path):
    state = replace(OFF, invocation="ab", status_text="loading")
    runner = ScriptedRunner(
        **{" start ": (1, "Job failed"), "journalctl": CommandTimeout(["journalctl"], 10)}
    )
    manager = build(tmp_path, runner, state)
    manager.install(SPEC)
    with pytest.raises(ServiceError, match="Job failed.*loading"):
        manager.start("web")
    assert "loading" in manager.status("web").last_error


def test_restart_that_is_due_is_not_waited_for(tmp_path):
    waiting = replace(OFF, active_state="activating", sub_state="auto-restart", is_enabled=True)
    runner = ScriptedRunner()
    manager = build(tmp_path, runner, waiting)
    manager.install(SPEC)
    manager.start("web")
    assert runner.commands[-2:] == ["systemctl stop web.service", "systemctl start web.service"]


def test_stop_that_leaves_something_running_is_reported(tmp_path):
    manager = build(
        tmp_path, ScriptedRunner(), replace(OFF, active_state="deactivating", sub_state="final-sigkill")
    )
    manager.install(SPEC)
    with pytest.raises(ServiceError, match="still deactivating"):
        manager.stop("web")


def test_process_that_has_just_ended_has_no_pid(tmp_path):
    running = replace(OFF, active_state="active", sub_state="running", is_enabled=True, main_pid=2**22 + 1)
    manager = build(tmp_path, ScriptedRunner(), running)
    manager.install(SPEC)
    status = manager.status("web")
    assert (status.state, status.pid, status.started_at) == (ServiceState.RUNNING, None, None)
    with pytest.raises(ServiceError, match="does not run"):
        manager.reload("web")


def test_only_own_units_that_should_run_are_started(tmp_path):
    (tmp_path / "foreign.service").write_text("[Service]\nExecStart=/bin/true\n")
    runner = ScriptedRunner()
    manager = build(tmp_path, runner, replace(OFF, is_enabled=True))
    manager.install(SPEC)
    manager.supervise()
    assert runner.commands == ["systemctl daemon-reload", "systemctl start web.service"]


def test_damaged_unit_of_ours_is_reported(tmp_path):
    manager = build(tmp_path, ScriptedRunner())
    manager.install(SPEC)
    unit_file(tmp_path).write_text(render_unit(SPEC, 252)[:-20])
    with pytest.raises(ServiceError, match="damaged"):
        manager.status("web")


def test_unit_of_an_older_release_is_written_again_at_start(tmp_path):
    build(tmp_path, ScriptedRunner()).install(SPEC)
    former = unit_file(tmp_path).read_text().replace("KillMode=mixed\n", "")
    unit_file(tmp_path).write_text(former)
    runner = ScriptedRunner()
    running = replace(OFF, active_state="active", sub_state="running", is_enabled=True)
    build(tmp_path, runner, running).supervise()
    assert unit_file(tmp_path).read_text() == render_unit(SPEC, 252)
    assert runner.commands == ["systemctl daemon-reload"]


def test_units_in_the_form_of_this_release_are_left_alone(tmp_path):
    build(tmp_path, ScriptedRunner()).install(SPEC)
    before = unit_file(tmp_path).stat()
    runner = ScriptedRunner()
    build(tmp_path, runner).supervise()
    after = unit_file(tmp_path).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert runner.commands == []


def test_agent_that_ended_before_it_told_systemd_is_made_up_for(tmp_path):
    build(tmp_path, ScriptedRunner()).install(SPEC)
    runner = ScriptedRunner()
    build(tmp_path, runner, replace(OFF, needs_reload=True)).supervise()
    assert runner.commands == ["systemctl daemon-reload"]


def test_restart_that_is_due_comes_at_once_when_the_agent_starts(tmp_path):
    waiting = replace(OFF, active_state="activating", sub_state="auto-restart", is_enabled=True)
    build(tmp_path, ScriptedRunner()).install(SPEC)
    runner = ScriptedRunner()
    build(tmp_path, runner, waiting).supervise()
    assert runner.commands == ["systemctl restart web.service"]


def test_namespace_unit_is_written_once_where_there_is_none(tmp_path):
    runner = ScriptedRunner(cat=(1, "No files found for amphora-netns.service."))
    for _ in range(2):
        build(tmp_path, runner, namespace="tenants").supervise()
    assert "-m amphora.cmd.netns" in (tmp_path / NAMESPACE_UNIT).read_text()
    assert [command.split()[1] for command in runner.commands] == ["cat", "daemon-reload", "enable", "start"]
    (tmp_path / NAMESPACE_UNIT).write_text(render_namespace_unit(("/old/python",)))
    build(tmp_path, runner, namespace="tenants").supervise()
    assert "/old/python" not in (tmp_path / NAMESPACE_UNIT).read_text()


@pytest.mark.parametrize("text", [None, "[Service]\nExecStart=amphora-netns\n"], ids=["elsewhere", "here"])
def test_namespace_unit_of_others_is_left_alone(tmp_path, text):
    if text is not None:
        (tmp_path / NAMESPACE_UNIT).write_text(text)
    runner = ScriptedRunner(cat=(0, ""))
    build(tmp_path, runner, namespace="tenants").supervise()
    assert [path.read_text() for path in tmp_path.iterdir()] == ([] if text is None else [text])
    assert not any("enable" in command for command in runner.commands)


def test_namespace_unit_has_the_settings_of_the_packaged_one():
    packaged = (Path(__file__).parents[4] / "etc/systemd/amphora-netns.service").read_text()
    written = render_namespace_unit(("amphora-netns",)).replace("=:", "=")
    settings = [[line for line in text.splitlines() if line[:1] not in "#"] for text in (packaged, written)]
    assert [line for line in settings[0] if line] == [line for line in settings[1] if line]
