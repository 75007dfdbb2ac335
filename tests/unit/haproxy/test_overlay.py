# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.haproxy.capabilities import capabilities_of
from amphora.haproxy.overlay import OverlaySettings
from amphora.haproxy.overlay import render_overlay as rendered
from amphora.haproxy.reading.configuration import Configuration, parse

SOCKET = Path("/var/lib/octavia/1b/agent.sock")
SETTINGS = OverlaySettings(SOCKET, "/run/rsyslog/octavia/log", user="nobody", group="nogroup")


def render_overlay(configuration, settings, version=(2, 6, 12)):
    return rendered(configuration, settings, capabilities_of("", version))


@pytest.mark.parametrize("name", ["load_balancer", "single_listener"])
def test_golden(data_dir, name):
    configuration = parse((data_dir / f"{name}.cfg").read_bytes())
    assert render_overlay(configuration, SETTINGS) == (data_dir / f"{name}.overlay.cfg").read_bytes()


def test_without_root_and_log_only_the_socket_is_added():
    lines = render_overlay(Configuration(), OverlaySettings(SOCKET)).decode().splitlines()
    assert lines[1:] == ["global", f"    stats socket {SOCKET} mode 600 level admin expose-fd listeners"]


def test_facilities_are_numbers_of_local():
    text = render_overlay(Configuration(), OverlaySettings(SOCKET, "127.0.0.1:514", 3, 5)).decode()
    assert "    log 127.0.0.1:514 local3\n    log 127.0.0.1:514 local5 notice\n" in text


def test_a_log_path_outside_the_upload_s_chroot_is_left_out():
    configuration = parse(b"global\n chroot /var/empty\n")
    assert b"log" not in render_overlay(configuration, OverlaySettings(SOCKET, "/run/log"))
    assert b"log 127.0.0.1:514" in render_overlay(configuration, OverlaySettings(SOCKET, "127.0.0.1:514"))


@given(st.text(st.characters(blacklist_characters="\n\r\0,$@", blacklist_categories=("Cs",)), min_size=1))
def test_odd_paths_are_quoted(name):
    settings = OverlaySettings(Path("/run") / f"x{name}", user=f"u{name}")
    configuration = parse(render_overlay(Configuration(), settings))
    assert configuration.stats_sockets[0].endpoints[0].path == str(settings.stats_socket)
    assert configuration.sets_user
    assert not configuration.sets_group


def test_a_system_that_allows_fewer_descriptors_may_be_settled_for():
    settings = OverlaySettings(Path("/s"))
    assert b"strict-limits" not in render_overlay(parse(b""), settings)
    assert b"    no strict-limits\n" in render_overlay(parse(b""), replace(settings, relaxed_limits=True))


@pytest.mark.parametrize(
    ("version", "upload", "user", "count"),
    [
        ((3, 4, 0), "", "nobody", 1),
        ((3, 3, 9), "", "nobody", 0),
        ((3, 4, 0), "global\n chroot /var/empty\n", "nobody", 0),
        ((3, 4, 0), "", None, 0),
    ],
)
def test_where_a_warning_asks_for_a_chroot_none_is_wanted(version, upload, user, count):
    overlay = render_overlay(parse(upload.encode()), OverlaySettings(SOCKET, user=user), version)
    assert overlay.splitlines().count(b"    chroot /") == count


def limits(upload="", version=(2, 6, 12), **settings):
    text = render_overlay(parse(upload.encode()), OverlaySettings(SOCKET, **settings), version).decode()
    return [line.strip() for line in text.splitlines()[3:]]


def test_old_workers_are_bounded_only_when_asked_to():
    assert limits() == []
    assert limits(drain_seconds=600) == ["hard-stop-after 600s"]


UNBOUNDED = "mworker-max-reloads 2147483647"


@pytest.mark.parametrize(
    ("upload", "kept"),
    [
        ("global\n hard-stop-after 5s\n", [UNBOUNDED]),
        ("global\n mworker-max-reloads 1\n", ["hard-stop-after 9s"]),
        ("global\n.if 1\n mworker-max-reloads 1\n.endif\n", ["hard-stop-after 9s"]),
        ("frontend f\n mode http\n", ["hard-stop-after 9s", UNBOUNDED]),
    ],
)
def test_what_the_upload_says_of_old_workers_stands(upload, kept):
    assert limits(upload, (3, 3, 1), drain_seconds=9) == kept


@pytest.mark.parametrize(("version", "count"), [((), 0), ((1, 7), 0), ((1, 8), 1), ((3, 2), 1), ((3, 3), 2)])
def test_versions_are_told_only_what_they_know_and_cut_no_worker_by_themselves(version, count):
    assert len(limits(version=version, drain_seconds=9)) == count
