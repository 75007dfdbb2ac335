# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from amphora.keepalived.overlay import render_overlay
from amphora.keepalived.proof import new_generation

FIFO = Path("/var/lib/octavia/vrrp/notify.fifo")
RUNNING = Path("/var/lib/octavia/vrrp/running.conf")


def test_the_upload_is_included_between_our_settings():
    words = render_overlay(RUNNING, FIFO, "keepalived-01ab").decode().split()
    assert words.index("vrrp_notify_fifo") < words.index("include") < words.index("vrrp_process_name")
    assert words[words.index("include") + 1] == str(RUNNING)
    assert words[words.index("vrrp_notify_fifo") + 1] == str(FIFO)


@pytest.mark.parametrize("path", ["/a b/c", "/a\nb", "/a#b", "/a*b", "/a{b"])
def test_a_path_that_keepalived_would_misread_is_refused(path):
    with pytest.raises(ValueError, match="cannot stand"):
        render_overlay(Path(path), FIFO, "x")


def test_a_name_that_the_kernel_would_cut_is_refused():
    with pytest.raises(ValueError, match="cannot be the name"):
        render_overlay(RUNNING, FIFO, "x" * 16)


def test_generations_are_names_that_fit_and_differ():
    made = {new_generation() for _ in range(50)}
    assert len(made) > 40
    assert all(len(name) <= 15 for name in made)
