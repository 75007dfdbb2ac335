# SPDX-License-Identifier: Apache-2.0
from datetime import UTC, datetime

import pytest

from amphora.haproxy.preflight.capacity import MIB, needed_memory, read_capacity
from amphora.haproxy.preflight.checks import Facts, capacity_findings, gather_facts, preflight
from amphora.haproxy.preflight.findings import Finding, Severity, refusing_start, refusing_upload
from amphora.haproxy.reading.configuration import parse
from amphora.system.memory import MemoryHeadroom

PLENTY = MemoryHeadroom(1 << 40, "the machine")
SMALL = parse(b"frontend f\n bind unix@/tmp/amp-x.sock\n")


def large(maxconn=10_000, extra=""):
    return parse(f"global\n maxconn {maxconn}\n nbthread 1\n{extra}frontend f\n bind unix@/tmp/a\n".encode())


@pytest.mark.parametrize(
    ("finding", "text"),
    [
        (Finding(7, "crt /a.pem", "it is empty"), "line 7: crt /a.pem: it is empty"),
        (Finding(0, "memory", "too little"), "memory: too little"),
    ],
)
def test_findings_are_for_people(finding, text):
    assert str(finding) == text


def test_severities_decide_what_is_refused():
    each = [Finding(1, "x", "y", severity) for severity in Severity]
    assert [f.severity for f in refusing_upload(each)] == [Severity.REFUSES]
    assert [f.severity for f in refusing_start(each)] == [Severity.REFUSES, Severity.REFUSES_START]


def test_what_is_not_known_is_no_finding():
    assert capacity_findings(large(), Facts()) == ()


def test_too_few_descriptors_are_found_with_both_numbers():
    # 21 + 1 listener + 2 * 10,000 + 3 for the thread
    (finding,) = capacity_findings(large(), Facts(descriptor_limit=20_024))
    assert str(finding) == "line 2: maxconn 10000: it needs 20025 open files and may have 20024"
    assert finding.severity is Severity.REFUSES_START
    assert capacity_findings(large(), Facts(descriptor_limit=20_025)) == ()


@pytest.mark.parametrize(
    ("configuration", "facts"),
    [
        (large(extra=" no strict-limits\n"), Facts(descriptor_limit=4096)),
        (large(), Facts(descriptor_limit=4096, relaxed_limits=True)),
        (large(), Facts(descriptor_limit=1 << 20, open_files_left=5000)),
    ],
)
def test_where_haproxy_would_start_all_the_same_it_is_only_told(configuration, facts):
    (finding,) = capacity_findings(configuration, facts)
    assert finding.severity is Severity.ADVISES


def test_a_cap_of_its_own_counts_as_a_limit():
    configuration = large(extra=" fd-hard-limit 500\n")
    (finding,) = capacity_findings(configuration, Facts(descriptor_limit=1 << 20))
    assert finding.reason.endswith("may have 500")


def test_haproxy_that_chooses_for_itself_needs_no_certain_number():
    assert capacity_findings(SMALL, Facts(descriptor_limit=256)) == ()


def test_memory_is_refused_with_the_numbers():
    room = MemoryHeadroom(40 * MIB, "control group /small")
    facts = Facts(available=room, worker_memory=90 * MIB, running=SMALL)
    (finding,) = capacity_findings(SMALL, facts)
    assert finding.severity is Severity.REFUSES_START
    assert finding.reason == (
        "a new worker needs about 98 MiB beside the worker that has 90 MiB now; "
        "control group /small has 40 MiB left, of which 32 MiB must stay free"
    )


def test_enough_memory_is_no_finding():
    need = needed_memory(read_capacity(SMALL), None, None)
    for spare, refused in ((0, False), (-1, True)):
        facts = Facts(available=MemoryHeadroom(need + 5 * MIB + spare, "the machine"), reserve=5 * MIB)
        assert bool(capacity_findings(SMALL, facts)) is refused


def test_facts_of_this_machine_are_known():
    facts = gather_facts()
    assert facts.descriptor_limit > 0
    assert facts.available.available > 0
    assert facts.now.tzinfo is UTC
    assert (facts.worker_memory, facts.owner_pids) == (None, frozenset())


def test_one_call_looks_at_files_limits_and_binds(short_dir):
    text = (
        f"global\n maxconn 1000000\nfrontend f\n bind {short_dir}/none/x.sock ssl crt {short_dir}/none.pem\n"
    )
    found = preflight(parse(text.encode()), Facts(descriptor_limit=1024, now=datetime.now(UTC)))
    assert [(f.line, f.subject.partition(" ")[0]) for f in found] == [(4, "crt"), (2, "maxconn"), (4, "bind")]
