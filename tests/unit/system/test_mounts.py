# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.errors import StorageError
from amphora.system.mounts import mount_of, outside_memory

TABLE = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:25 / /srv rw shared:1 - tmpfs tmpfs rw,size=1024k
31 30 254:16 / /srv/deep\\040dir rw - xfs /dev/vdb rw
32 22 0:26 / /twice rw - ext4 /dev/vdc rw
33 22 0:27 / /twice rw - ramfs ramfs rw
"""


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "mountinfo"
    path.write_text(TABLE)
    return path


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/etc/none", "ext4"),
        ("/srv", "tmpfs"),
        ("/srv/certs/a/b", "tmpfs"),
        ("/srv-other", "ext4"),
        ("/srv/deep dir/x", "xfs"),
        ("/twice/x", "ramfs"),
    ],
)
def test_the_nearest_and_newest_mount_decides(table, path, kind):
    assert mount_of(Path(path), table).kind == kind


def test_symbolic_links_are_followed(table, tmp_path):
    link = tmp_path / "link"
    link.symlink_to("/srv/certs")
    assert mount_of(link, table).kind == "tmpfs"


def test_an_unreadable_table_is_an_error(tmp_path):
    with pytest.raises(StorageError, match="mount table"):
        mount_of(Path("/"), tmp_path / "none")


@given(st.lists(st.sampled_from(["a", "b", "..", "."]), max_size=6))
def test_every_path_of_this_machine_has_a_type(parts):
    assert mount_of(Path("/", *parts)).kind


class Machine:
    """A mount table and a tree of sysfs, as files; block devices get their numbers in order."""

    def __init__(self, directory):
        self.sysfs = directory / "sys"
        self.table = directory / "mountinfo"
        self.table.write_text("")
        self._count = 0

    def device(self, name, *slaves, whole=None, **attributes):
        """Add a block device; attributes are its files, ``__`` in their names stands for ``/``."""
        directory = (whole or self.sysfs / "devices/virtual/block") / name
        directory.mkdir(parents=True)
        self._count += 1
        number = f"259:{self._count}"
        for key, value in {"dev": number, **attributes}.items():
            path = directory / key.replace("__", "/")
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"{value}\n")
        (directory / "slaves").mkdir()
        for slave in slaves:
            (directory / "slaves" / slave.name).symlink_to(slave)
        numbers = self.sysfs / "dev/block"
        numbers.mkdir(parents=True, exist_ok=True)
        (numbers / number).symlink_to(directory)
        return directory

    def mount(self, point, kind, device):
        number = device if isinstance(device, str) else (device / "dev").read_text().strip()
        with self.table.open("a") as table:
            table.write(f"1 1 {number} / {point} rw - {kind} source rw\n")

    def asked(self, path="/certs"):
        return outside_memory(Path(path), self.table, self.sysfs)

    def asked_on(self, device, kind="ext2"):
        self.mount("/certs", kind, device)
        return self.asked()


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


@pytest.mark.parametrize("kind", ["tmpfs", "ramfs"])
def test_file_systems_of_memory_are_in_memory(machine, kind):
    assert machine.asked_on("0:25", kind) is None


@pytest.mark.parametrize(
    ("name", "attributes"),
    [("ram0", {}), ("ram15", {}), ("zram0", {}), ("zram1", {"backing_dev": "none"})],
)
def test_devices_of_memory_are_in_memory(machine, name, attributes):
    assert machine.asked_on(machine.device(name, **attributes)) is None


def test_a_disk_is_not(machine):
    assert machine.asked_on(machine.device("vda"), "ext4") == "ext4 on vda"


@pytest.mark.parametrize("name", ["pmem0", "nbd0", "ramdisk0", "sram0", "ram", "md0"])
def test_neither_is_what_only_sounds_like_memory(machine, name):
    assert machine.asked_on(machine.device(name)) == f"ext2 on {name}"


def test_a_zram_that_writes_back_to_a_disk_is_not(machine):
    zram = machine.device("zram0", backing_dev="/dev/vdb")
    assert machine.asked_on(zram) == "ext2 on zram0, which writes back to /dev/vdb"


def test_luks_on_memory_is_in_memory(machine):
    ram = machine.device("ram0")
    assert machine.asked_on(machine.device("dm-0", ram, dm__name="certs")) is None


def test_luks_on_a_disk_is_not(machine):
    disk = machine.device("vda", whole=machine.sysfs / "devices/pci0/block")
    partition = machine.device("vda1", whole=disk, partition=1)
    luks = machine.device("dm-0", partition, dm__name="certs")
    assert machine.asked_on(luks) == "ext2 on dm-0 (certs) on vda1 on vda"


def test_one_disk_among_several_devices_counts(machine):
    lower = machine.device("dm-0", machine.device("ram0"), machine.device("sda"), dm__name="striped")
    upper = machine.device("dm-1", machine.device("zram0"), lower, dm__name="certs")
    assert machine.asked_on(upper) == "ext2 on dm-1 (certs) on dm-0 (striped) on sda"


def test_a_mapping_of_no_device_is_not_in_memory(machine):
    assert machine.asked_on(machine.device("dm-0", dm__name="zero")) == "ext2 on dm-0 (zero)"


def test_a_partition_is_what_its_device_is(machine):
    ram = machine.device("ram1")
    assert machine.asked_on(machine.device("ram1p1", whole=ram, partition=1)) is None


@pytest.mark.parametrize(
    ("holds_file", "answer"),
    [("tmpfs", None), ("ext4", "ext2 on loop0 on {file} on ext4 on vda")],
)
def test_a_loop_device_is_where_its_file_is(machine, tmp_path, holds_file, answer):
    file = tmp_path / "image"
    file.touch()
    machine.mount(tmp_path, holds_file, machine.device("vda"))
    loop = machine.device("loop0", loop__backing_file=file)
    assert machine.asked_on(loop) == (answer and answer.format(file=file))


def test_a_loop_device_whose_file_cannot_be_found_is_not_in_memory(machine, tmp_path):
    machine.mount(tmp_path, "tmpfs", "0:25")
    gone = f"{tmp_path}/image (deleted)"
    loop = machine.device("loop0", loop__backing_file=gone)
    assert machine.asked_on(loop) == f"ext2 on loop0 on {gone}, which cannot be found"


def test_a_loop_device_without_a_file_is_not_in_memory(machine):
    assert machine.asked_on(machine.device("loop0")) == "ext2 on loop0"


@pytest.mark.parametrize(
    ("kind", "number", "answer"),
    [("overlay", "0:40", "no single block device"), ("ext4", "8:1", "the unknown device 8:1")],
)
def test_what_cannot_be_looked_up_is_not_in_memory(machine, kind, number, answer):
    assert machine.asked_on(number, kind) == f"{kind} on {answer}"


def test_an_attribute_that_cannot_be_read_is_an_error(machine):
    zram = machine.device("zram0", backing_dev__is_a="directory")
    with pytest.raises(StorageError, match="backing_dev could not be read"):
        machine.asked_on(zram)


def test_a_path_on_no_file_system_is_an_error(machine):
    with pytest.raises(StorageError, match="on no file system"):
        machine.asked()
