# SPDX-License-Identifier: Apache-2.0
"""State of services in init scripts, links and pid files, over a directory that plays the machine."""

from dataclasses import replace
from pathlib import Path

import pytest

from amphora.drivers.process_manager.records import ServiceRecord
from amphora.drivers.process_manager.sysvinit.scripts import InitScriptStore, render_script
from amphora.errors import CommandTimeout, ServiceError
from amphora.models import ServiceSpec
from amphora.system.command import CommandResult, CommandRunner
from amphora.system.processes import ProcessIdentity

SPEC = ServiceSpec("web", "A service", ("/bin/web",))
BOOT = "11111111-2222"


class LinkingRunner(CommandRunner):
    """Plays update-rc.d over a directory; may be told to fail."""

    def __init__(self, root):
        self.root = root
        self.commands = []
        self.failure = None

    def run(self, argv, *, timeout, namespace="", environment=None):
        self.commands.append(" ".join(argv))
        if self.failure is not None:
            raise self.failure
        name, verb = argv[-2:]
        if not (self.root / "etc/init.d" / name).exists():
            return CommandResult(tuple(argv), 1, "initscript does not exist")
        for level in "2345":
            self.link(self.root / f"etc/rc{level}.d", name, verb)
        return CommandResult(tuple(argv), 0, "")

    def link(self, directory, name, verb):
        former = list(directory.glob(f"[SK]01{name}"))
        if verb == "defaults" and former:
            return
        for path in former:
            path.unlink()
        if verb != "remove":
            (directory / f"{'K' if verb == 'disable' else 'S'}01{name}").symlink_to(f"../init.d/{name}")


@pytest.fixture
def root(tmp_path):
    for directory in ("etc/init.d", "run", *(f"etc/rc{level}.d" for level in "2345")):
        (tmp_path / directory).mkdir(parents=True)
    return tmp_path


@pytest.fixture
def runner(root):
    return LinkingRunner(root)


@pytest.fixture
def store(root, runner):
    return InitScriptStore(root, root / "log", runner, BOOT)


def script(root):
    return root / "etc/init.d/web"


def links(root):
    return sorted(path.name for path in (root / "etc").glob("rc?.d/*web"))


def test_saved_service_is_a_script_and_nothing_else(store, root, runner):
    store.save(ServiceRecord(SPEC))
    assert script(root).read_text() == render_script(SPEC, store.paths("web"))
    assert script(root).stat().st_mode & 0o777 == 0o755
    assert (root / "log").stat().st_mode & 0o777 == 0o700
    assert (links(root), runner.commands) == ([], [])
    assert store.load("web") == ServiceRecord(SPEC)
    assert store.names() == ["web"]


def test_links_follow_what_is_wanted(store, root):
    for wanted, letter in ((True, "S"), (False, "K"), (True, "S")):
        store.save(ServiceRecord(SPEC, wanted=wanted))
        assert links(root) == [f"{letter}01web"] * 4
        assert store.load("web") == ServiceRecord(SPEC, wanted=wanted)


def test_link_of_another_name_does_not_count(store, root):
    store.save(ServiceRecord(SPEC))
    (root / "etc/rc2.d/S01other-web").symlink_to("../init.d/other-web")
    (root / "etc/rc2.d/S01web2").symlink_to("../init.d/web2")
    assert store.load("web") == ServiceRecord(SPEC, wanted=False)


def test_saving_the_same_writes_nothing(store, root, runner):
    record = ServiceRecord(SPEC, wanted=True, process=ProcessIdentity(7, 99))
    store.save(record)
    before = [(path, path.lstat().st_ino) for path in sorted(root.rglob("*"))], list(runner.commands)
    store.save(record)
    assert ([(path, path.lstat().st_ino) for path in sorted(root.rglob("*"))], runner.commands) == before


def test_script_of_an_older_version_is_renewed_and_registered_anew(store, root, runner):
    store.save(ServiceRecord(SPEC, wanted=True))
    current = script(root).read_text()
    script(root).write_text(current.replace("$network", "$older"))
    runner.commands.clear()
    store.save(store.load("web"))
    assert script(root).read_text() == current
    assert runner.commands == ["update-rc.d web defaults"]


def test_process_is_noted_with_its_boot(store, root):
    process = ProcessIdentity(7, 99)
    store.save(ServiceRecord(SPEC, process=process))
    assert store.paths("web").pid_file.read_text() == f"7\n99 {BOOT}\n"
    assert store.load("web").process == process
    assert InitScriptStore(root, root / "log", LinkingRunner(root), "another").load("web").process is None
    store.save(ServiceRecord(SPEC))
    assert not store.paths("web").pid_file.exists()


@pytest.mark.parametrize(
    "text", ["", "7", "7\n99", f"x\n99 {BOOT}", f"7\n-9 {BOOT}", f"7\n9² {BOOT}", "7\n99 \xff"]
)
def test_damaged_pid_file_names_nobody(store, text):
    store.save(ServiceRecord(SPEC))
    store.paths("web").pid_file.write_text(text, encoding="utf-8")
    assert store.load("web").process is None


def test_socket_in_the_third_line_is_passed_over(store):
    store.save(ServiceRecord(SPEC))
    store.paths("web").pid_file.write_text(f"7\n99 {BOOT}\n/run/socket\n")
    assert store.process("web") == ProcessIdentity(7, 99)


def test_deleted_service_leaves_no_file(store, root, runner):
    before = sorted(root.rglob("*"))
    store.save(ServiceRecord(SPEC, wanted=True, process=ProcessIdentity(7, 99)))
    paths = store.paths("web")
    for path in (paths.lock, Path(f"{paths.pid_file}.new")):
        path.touch()
    for _ in range(2):
        store.delete("web")
        assert sorted(root.rglob("*")) == sorted((*before, root / "log"))
    assert runner.commands[-1] == "update-rc.d -f web remove"


def test_script_of_somebody_else_is_nobodys_service(store, root, runner):
    script(root).write_text("#!/bin/sh\necho mine\n")
    assert (store.load("web"), store.names()) == (None, [])
    store.delete("web")
    with pytest.raises(ServiceError, match="not written by amphora-agent"):
        store.save(ServiceRecord(SPEC))
    assert script(root).read_text() == "#!/bin/sh\necho mine\n"
    assert runner.commands == []


def test_failing_update_is_an_error(store, runner):
    store.save(ServiceRecord(SPEC))
    runner.failure = CommandTimeout(["update-rc.d"], 20)
    with pytest.raises(ServiceError, match="did not finish within 20 s"):
        store.save(ServiceRecord(SPEC, wanted=True))


def test_update_that_makes_no_links_is_an_error(store, runner):
    runner.link = lambda *_: None
    with pytest.raises(ServiceError, match="ignores this name"):
        store.save(ServiceRecord(SPEC, wanted=True))


def test_refused_update_tells_why(store, runner, root):
    runner.root = root / "elsewhere"
    with pytest.raises(ServiceError, match="initscript does not exist"):
        store.save(ServiceRecord(SPEC, wanted=True))


def test_interrupted_writes_are_swept(store, root):
    store.save(ServiceRecord(SPEC))
    (root / "etc/init.d/.amphora-tmp-0123").touch()
    store.sweep()
    assert [path.name for path in (root / "etc/init.d").iterdir()] == ["web"]


def test_changed_spec_replaces_the_script(store, root):
    store.save(ServiceRecord(SPEC, wanted=True))
    changed = replace(SPEC, argv=("/bin/web", "changed"))
    store.save(ServiceRecord(changed, wanted=True))
    assert store.load("web") == ServiceRecord(changed, wanted=True)
