# SPDX-License-Identifier: Apache-2.0
from amphora.system import host


def test_groups():
    assert host.group_exists("root")
    assert not host.group_exists("nobody-knows")
    assert not host.group_exists("")


def test_profiles_of_tuned(tmp_path):
    path = tmp_path / "active_profile"
    assert host.tuned_profiles(path) == ""
    path.write_text("virtual-guest amphora\n")
    assert host.tuned_profiles(path) == "virtual-guest amphora"
    path.write_text("x" * 5000)
    assert len(host.tuned_profiles(path)) == 1024


def test_the_bus_is_asked_to_look_again_where_there_is_one(tmp_path):
    path = tmp_path / "rescan"
    host.rescan_pci_bus(path)
    assert not path.exists()
    path.touch()
    host.rescan_pci_bus(path)
    assert path.read_bytes() == b"1"


def test_a_machine_has_cpus():
    assert host.cpu_count() >= 1
