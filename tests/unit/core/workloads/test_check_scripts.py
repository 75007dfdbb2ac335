# SPDX-License-Identifier: Apache-2.0
"""What keepalived's scripts say; that they do it needs processes and is tested with some."""

import pytest

from amphora.core.workloads.check_scripts import CheckScripts
from amphora.core.workloads.lvs_files import LvsDirectory
from amphora.core.workloads.vrrp_files import VrrpFiles
from amphora.errors import OperationFailed
from amphora.system import files
from tests.unit.core.conftest import ID, OLD

OTHER = ID.replace("04", "05", 1)


class Scripts:
    """Check scripts over instances of which some are to run."""

    def __init__(self, directory, base_path):
        self.layout = VrrpFiles(base_path)
        self.directory = directory
        self.stopped = set()
        self.lvs = LvsDirectory(base_path)
        self.scripts = CheckScripts(self.layout, directory, self.is_to_run, ("check", "it"), self.lvs)

    def is_to_run(self, layout):
        if layout.id in self.stopped:
            return False
        if "broken" in self.stopped:
            raise OperationFailed("no answer")
        return True

    def store(self, instance_id, body=OLD):
        layout = self.directory.files(instance_id)
        files.ensure_directory(layout.directory)
        layout.stored.write_bytes(body)
        return layout

    def text(self):
        return self.layout.haproxy_check_script.read_text()


@pytest.fixture
def node(rig, memory_dir):
    return Scripts(rig.directory, memory_dir)


def test_modes_and_names_are_those_that_controllers_and_images_know(node, memory_dir):
    node.scripts.install()
    script, haproxy = (
        memory_dir / "vrrp/check_script.sh",
        memory_dir / "vrrp/check_scripts/haproxy_check_script.sh",
    )
    assert (script.stat().st_mode & 0o777, haproxy.stat().st_mode & 0o777) == (0o755, 0o644)
    assert script.read_text().startswith("#!/bin/bash\n")
    assert str(memory_dir / "vrrp/check_scripts") in script.read_text()


def test_without_any_load_balancer_the_node_serves_nobody(node):
    node.scripts.install()
    assert node.text() == "exit 1\n"


def test_a_node_with_lvs_listeners_alone_is_judged_by_those(node):
    node.scripts.install()
    stored = node.lvs.files(OTHER).stored
    files.ensure_directory(stored.parent)
    stored.touch()
    node.scripts.refresh()
    assert not node.layout.haproxy_check_script.exists()
    assert node.layout.lvs_check_script.stat().st_mode & 0o777 == 0o100
    assert f"{stored.parent}/*.pid" in node.layout.lvs_check_script.read_text()
    node.store(ID)
    node.scripts.refresh()
    assert node.layout.haproxy_check_script.read_text().startswith("check it ")
    (node.directory.files(ID).stored).unlink()
    stored.unlink()
    node.scripts.refresh()
    assert node.text() == "exit 1\n"


def test_every_instance_that_is_to_run_is_asked_on_the_socket_for_everybody(node, memory_dir):
    named = memory_dir / f"{ID}.sock"
    node.store(ID, f"global\n    stats socket {named} mode 0666 level user\n".encode() + OLD)
    own = node.store(OTHER).stats_socket
    node.scripts.install()
    assert node.text() == f"check it {named} {own}; exit $?\n"
    node.stopped = {ID}
    node.scripts.refresh()
    assert node.text() == f"check it {own}; exit $?\n"
    node.store(OTHER, b"\xff")
    node.scripts.refresh()
    assert str(own) in node.text()


def test_a_node_without_keepalived_gets_no_scripts(node):
    node.store(ID)
    node.scripts.refresh()
    assert not node.layout.directory.exists()


def test_a_refresh_that_fails_is_told_and_leaves_the_former(node, caplog):
    node.store(ID)
    node.scripts.install()
    former = node.text()
    node.stopped = {"broken"}
    node.scripts.refresh()
    assert "no answer" in caplog.text
    assert node.text() == former


def test_what_has_not_changed_is_not_written(node):
    node.store(ID)
    node.scripts.install()
    before = node.layout.haproxy_check_script.stat()
    node.scripts.refresh()
    assert node.layout.haproxy_check_script.stat().st_ino == before.st_ino
