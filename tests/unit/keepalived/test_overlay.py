# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from amphora.errors import OperationFailed
from amphora.keepalived.overlay import render_overlay
from amphora.keepalived.proof import new_generation

FIFO = Path("/var/lib/octavia/vrrp/notify.fifo")
RUNNING = Path("/var/lib/octavia/vrrp/running.conf")


def test_the_upload_is_included_between_our_settings():
    words = render_overlay(RUNNING, "amphora-1", FIFO, "keepalived-01ab").decode().split()
    assert words.index("vrrp_notify_fifo") < words.index("include") < words.index("vrrp_process_name")
    assert words[words.index("include") + 1] == str(RUNNING)
    assert words[words.index("vrrp_notify_fifo") + 1] == str(FIFO)


def test_nothing_follows_the_upload_where_it_is_only_checked():
    assert render_overlay(RUNNING, "amphora-1", FIFO).endswith(f"include {RUNNING}\n".encode())
    assert b"fifo" not in render_overlay(RUNNING, "amphora-1")


@pytest.mark.parametrize(
    ("host_name", "written"),
    [("amphora-1", "amphora-1"), ("a.example.com", "a.example.com"), ("a b", "amphora"), ("", "amphora")],
)
def test_keepalived_need_not_look_up_its_own_name(host_name, written):
    words = render_overlay(RUNNING, host_name).decode().split()
    names = [words[words.index(setting) + 1] for setting in ("router_id", "smtp_helo_name")]
    assert names == [written, written]
    assert words[words.index("notification_email_from") + 1] == f"root@{written}"
    assert words.index("notification_email_from") < words.index("include")


@pytest.mark.parametrize("path", ["/a b/c", "/a\nb", "/a#b", "/a*b", "/a{b"])
def test_a_path_that_keepalived_would_misread_is_refused(path):
    with pytest.raises(OperationFailed, match="cannot be written"):
        render_overlay(Path(path), "amphora-1")
    with pytest.raises(OperationFailed, match="cannot be written"):
        render_overlay(RUNNING, "amphora-1", Path(path))


def test_a_name_that_the_kernel_would_cut_is_refused():
    with pytest.raises(ValueError, match="cannot be the name"):
        render_overlay(RUNNING, "amphora-1", FIFO, "x" * 16)


def test_generations_are_names_that_fit_and_differ():
    made = {new_generation() for _ in range(50)}
    assert len(made) > 40
    assert all(len(name) <= 15 for name in made)
