# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.prometheus.translation import GROUPS, Translator, own_gauges, renamed

DATA = Path(__file__).with_name("data")


def lines_of(name):
    return (DATA / name).read_text().splitlines()


def test_the_metrics_of_haproxy_2_6():
    translated = list(Translator().lines(lines_of("haproxy-2.6.txt")))
    assert translated == lines_of("haproxy-2.6.translated.txt")
    assert not [line for line in translated if "haproxy_" in line or "prometheus-exporter" in line]


def test_every_name_of_the_table_is_one_of_haproxys():
    known = {line.split()[2] for line in lines_of("haproxy-2.6.txt") if line.startswith("# TYPE")}
    assert set(renamed()) <= known


def test_no_two_metrics_become_one():
    targets = [target for target, _ in renamed().values()]
    assert len(targets) == len(set(targets)) == 142
    assert all(any(target.startswith(group.target) for group in GROUPS) for target in targets)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            'haproxy_frontend_status{proxy="l",state="UP"} 1',
            'octavia_listener_status{listener="l",state="UP"} 1',
        ),
        (
            'haproxy_backend_active_servers{proxy="p"} 2',
            'octavia_pool_active_members{pool="p"} 2',
        ),
        (
            'haproxy_server_weight{proxy="p:l",server="proxy=\\"x\\"}"} 1 17',
            'octavia_member_weight{pool="p:l",member="proxy=\\"x\\"}"} 1 17',
        ),
        ("haproxy_process_pool_used_bytes 4096", "octavia_memory_pool_used_bytes 4096"),
        ("haproxy_process_listeners 3", "octavia_loadbalancer_listeners 3"),
        (
            "# HELP haproxy_backend_server_aborts_total Aborts",
            "# HELP octavia_pool_member_aborts_total Aborts",
        ),
    ],
)
def test_names_and_labels(line, expected):
    assert list(Translator().lines([line])) == [expected]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "#",
        "# TYPE",
        "# TYPE other gauge",
        "# EOF haproxy_process_listeners",
        "haproxy_process_uptime_seconds 7",
        "haproxy_process_listeners",
        'haproxy_server_weight{proxy="prometheus-exporter-internal",server="prometheus-internal"} 1',
        'haproxy_server_weight{proxy="p} 1',
    ],
)
def test_what_is_not_passed_on(line):
    assert list(Translator().lines([line])) == []


@given(st.lists(st.text(max_size=60), max_size=3))
def test_any_text_can_be_read(lines):
    assert len(list(Translator().lines(lines))) <= len(lines)


def test_load_and_memory_in_percent():
    lines = own_gauges(1.5, 2, {"MemTotal": 1000, "MemAvailable": 750})
    assert [line for line in lines if not line.startswith("#")] == [
        "octavia_loadbalancer_cpu 75.0",
        "octavia_loadbalancer_memory 25.0",
    ]
    assert own_gauges(0.0, 0, {})[-1] == "octavia_loadbalancer_memory 0.0"
