# SPDX-License-Identifier: Apache-2.0
"""Where the files of LVS listeners are: names that images, controllers and other agents know."""

from amphora.core.workloads.lvs_files import LvsDirectory
from tests.support.lvs import LISTENER, OTHER_LISTENER


def test_names_are_those_that_others_know(short_dir):
    layout = LvsDirectory(short_dir).files(LISTENER)
    known = (layout.stored, layout.pid_files.main, layout.pid_files.vrrp, layout.pid_files.check)
    name = f"octavia-keepalivedlvs-{LISTENER}"
    assert [str(path.relative_to(short_dir)) for path in (*known, layout.udp_check)] == [
        f"lvs/{name}.conf",
        f"lvs/{name}.pid",
        f"lvs/{name}.vrrp.pid",
        f"lvs/{name}.check.pid",
        "lvs/check/udp_check.sh",
    ]
    assert layout.service_name == name


def test_stored_configurations_are_the_list_of_listeners(short_dir):
    directory = LvsDirectory(short_dir)
    assert directory.all() == []
    for listener in (OTHER_LISTENER, LISTENER):
        directory.files(listener).directory.mkdir(parents=True)
        directory.files(listener).stored.touch()
        directory.files(listener).pid_files.main.touch()
    (directory.path / "octavia-keepalivedlvs-x.conf").touch()
    (directory.path / f"octavia-keepalivedlvs-{LISTENER}.conf.new").touch()
    assert [layout.id for layout in directory.all()] == [LISTENER, OTHER_LISTENER]
