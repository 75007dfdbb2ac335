# SPDX-License-Identifier: Apache-2.0
import pytest

from amphora.core.workloads.worker_group import WorkerGroup

BODY = b"global\n    group bin\nfrontend x\n"


@pytest.fixture
def image_file(tmp_path):
    return tmp_path / "haproxy-default-user-group.conf"


def test_without_a_file_of_the_image_the_default_counts(image_file):
    assert WorkerGroup(image_file, "daemon").name() == "daemon"
    assert WorkerGroup(None, "daemon").name() == "daemon"


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"global\n    group adm\n", "adm"),
        (b"global\n    group nobody-knows\n", "daemon"),
        (b"global\n", "daemon"),
        (b"\xff", "daemon"),
    ],
)
def test_the_images_group_counts_where_it_exists(image_file, content, name):
    image_file.write_bytes(content)
    assert WorkerGroup(image_file, "daemon").name() == name


def test_a_group_that_exists_stays_where_the_image_says_nothing(image_file):
    group = WorkerGroup(image_file, "daemon")
    assert group.adapt(BODY) == BODY
    assert b"nobody-knows" not in group.adapt(BODY.replace(b"bin", b"nobody-knows"))
    image_file.write_text("global\n    group adm\n")
    assert b"bin" not in group.adapt(BODY)
    assert group.adapt(BODY.replace(b"bin", b"adm")) == BODY.replace(b"bin", b"adm")


def test_whoever_cannot_change_the_group_changes_nothing(image_file):
    image_file.write_text("global\n    group adm\n")
    group = WorkerGroup(image_file, None)
    assert group.name() is None
    assert group.adapt(BODY) == BODY
