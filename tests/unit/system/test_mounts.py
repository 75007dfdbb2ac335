# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.errors import StorageError
from amphora.system.mounts import filesystem_type

TABLE = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:25 / /srv rw shared:1 - tmpfs tmpfs rw,size=1024k
31 30 254:1 / /srv/deep\\040dir rw - xfs /dev/vdb rw
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
    assert filesystem_type(Path(path), table) == kind


def test_symbolic_links_are_followed(table, tmp_path):
    link = tmp_path / "link"
    link.symlink_to("/srv/certs")
    assert filesystem_type(link, table) == "tmpfs"


def test_an_unreadable_table_is_an_error(tmp_path):
    with pytest.raises(StorageError, match="mount table"):
        filesystem_type(Path("/"), tmp_path / "none")


@given(st.lists(st.sampled_from(["a", "b", "..", "."]), max_size=6))
def test_every_path_of_this_machine_has_a_type(parts):
    assert filesystem_type(Path("/", *parts))
