# SPDX-License-Identifier: Apache-2.0
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.haproxy.capabilities import capabilities_of
from amphora.haproxy.preflight.capacity import MIB, Capacity, needed_memory, read_capacity
from amphora.haproxy.preflight.footprint import FOOTPRINTS
from amphora.haproxy.reading.configuration import parse


def capacity(text):
    return read_capacity(parse(text.encode()))


def test_everything_that_counts_is_counted(short_dir):
    (short_dir / "m").write_text("a b\nc d\n")
    (short_dir / "ca").write_bytes(b"x" * 100)
    found = capacity(
        "global\n maxconn 100\n nbthread 4\n no strict-limits\n fd-hard-limit 900\n"
        "defaults\n option splice-auto\n"
        f"frontend f\n bind :80-89\n bind :443 ssl crt /none ca-file {short_dir}/ca\n"
        f" acl x path -f {short_dir}/m\n"
        "backend b\n server a 192.0.2.1:80 check ssl\n server-template t 2-4 192.0.2.1:80 ssl\n"
    )
    assert (found.maxconn, found.threads, found.strict, found.descriptor_cap) == (100, 4, False, 900)
    assert (found.listeners, found.frontends, found.backends, found.tls_binds) == (11, 1, 1, 1)
    assert (found.servers, found.tls_servers, found.checks, found.patterns) == (4, 4, 1, 2)
    assert (found.spliced, found.line, found.certificates, found.authority_memory) == (100, 2, 0, 900)
    assert found.descriptors() == 21 + 11 + 1 + 200 + 50 + 12


@pytest.mark.parametrize(
    "text", ["", "global\n maxconn x\n", "global\n maxconn\n", "global\n maxconn 99999999999\n"]
)
def test_without_a_number_haproxy_adapts(text):
    assert capacity(text).descriptors() is None


def test_a_number_of_its_own_counts_first():
    assert capacity("global\n ulimit-n 5000\n maxconn 9\n").descriptors() == 5000


def test_what_stands_inside_conditions_does_not_count():
    assert capacity("backend b\n.if 0\n server s 192.0.2.1:1 ssl\n.endif\n").tls_servers == 0


@pytest.mark.parametrize("threads", ["1", "2-5", "x", "9-1"])
def test_templates_of_odd_numbers_never_raise(threads):
    assert capacity(f"backend b\n server-template t {threads} 192.0.2.1:80 ssl\n").tls_servers >= 0


def test_a_new_worker_is_taken_to_grow_as_large_as_the_old_one():
    same = Capacity(maxconn=10_000)
    running = 200 * MIB
    assert needed_memory(same, same, running) == pytest.approx(208 * MIB, rel=0.01)


def test_a_larger_configuration_is_taken_to_grow_in_proportion():
    before, after = Capacity(servers=1000), Capacity(servers=4000)
    growth = after.idle_memory() / before.idle_memory()
    assert needed_memory(after, before, 100 * MIB) == pytest.approx(100 * MIB * growth + 8 * MIB, rel=0.01)


def test_a_maxconn_bounds_the_growth():
    few = Capacity(maxconn=10)
    assert needed_memory(few, few, 500 * MIB) < 30 * MIB


counts = st.builds(
    Capacity,
    maxconn=st.none() | st.integers(1, 10**6),
    threads=st.integers(1, 64),
    listeners=st.integers(0, 1000),
    servers=st.integers(0, 10_000),
    certificates=st.integers(0, 1000),
)


@given(counts, counts, st.none() | st.integers(0, 1 << 34))
def test_what_is_needed_is_never_less_than_an_idle_worker(wanted, running, memory):
    assert needed_memory(wanted, running, memory) >= wanted.idle_memory()


@given(st.text(max_size=200))
def test_odd_text_never_raises(text):
    capacity("global\n" + text.replace("\0", ""))


def test_what_never_ends_is_not_waited_for(short_dir):
    os.mkfifo(short_dir / "p")
    text = f"frontend f\n bind :1 ssl crt-list {short_dir}/p\n bind :2 ssl crt-list /dev/zero\n"
    assert capacity(text).certificates == 0


@pytest.mark.parametrize(
    ("version", "measured_on"), [((2, 4), (2, 6)), ((2, 9, 1), (2, 6)), ((3, 1), (3, 1)), ((4, 0), (3, 3))]
)
def test_each_version_has_the_figures_of_the_latest_one_measured_before_it(version, measured_on):
    footprint = capabilities_of("", version).latest(FOOTPRINTS)
    assert footprint is FOOTPRINTS[measured_on]
    text = b"global\n maxconn 100\n nbthread 1\nfrontend f\n bind :443 ssl crt /none\n"
    wanted = read_capacity(parse(text), footprint)
    assert wanted.descriptors() == footprint.reserved_descriptors + 1 + 200 + 3
    assert wanted.idle_memory() > footprint.process + footprint.tls + footprint.tls_bind
    assert needed_memory(wanted, None, None) == wanted.idle_memory() + footprint.master
