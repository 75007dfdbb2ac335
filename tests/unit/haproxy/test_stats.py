# SPDX-License-Identifier: Apache-2.0
import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.errors import ControlSocketError
from amphora.haproxy.control.stats import RowKind, StatsSocket, parse_statistics

STATISTICS = """\
# pxname,svname,scur,bin,status,type,check_desc,
f1,FRONTEND,3,1024,OPEN,0,,
b,s,0,0,UP 1/2,2,"a ""quoted"", text",
b,BACKEND,,x,UP,1,,

"""


def test_rows():
    frontend, server, backend = parse_statistics(STATISTICS)
    assert (frontend.proxy, frontend.service, frontend.kind, frontend.status) == (
        "f1",
        "FRONTEND",
        RowKind.FRONTEND,
        "OPEN",
    )
    assert (frontend.is_frontend, server.is_frontend, server.is_server, backend.is_server) == (
        True,
        False,
        True,
        False,
    )
    assert server.status == "UP 1/2"
    assert server.fields["check_desc"] == 'a "quoted", text'


def test_numbers_are_zero_where_there_are_none():
    frontend, _, backend = parse_statistics(STATISTICS)
    assert (frontend.number("bin"), frontend.number("nosuch")) == (1024, 0)
    assert (backend.number("scur"), backend.number("bin")) == (0, 0)


def test_rows_of_kinds_yet_unknown_are_passed_over():
    assert parse_statistics("# pxname,svname,type,\na,b,7,\na,b\n") == ()


@pytest.mark.parametrize("text", ["", "Permission denied\n", "pxname,svname\n"])
def test_other_answers_are_refused(text):
    with pytest.raises(ValueError, match="no header"):
        parse_statistics(text)


def test_the_socket_is_asked(scripted_socket):
    answers = {"show info": "Name: HAProxy\nPid: 77\nnode: a: b\n\n", "show stat": STATISTICS}
    server = scripted_socket(answers.__getitem__)
    stats = StatsSocket(server.path, 5)
    assert stats.worker_pid() == 77
    assert stats.info()["node"] == "a: b"
    assert len(stats.statistics()) == 3
    assert server.commands == ["show info", "show info", "show stat"]


def test_odd_answers_name_the_socket(scripted_socket):
    stats = StatsSocket(scripted_socket("Permission denied\n").path, 5)
    with pytest.raises(ControlSocketError, match="haproxy.sock answered 'show stat' oddly"):
        stats.statistics()
    with pytest.raises(ControlSocketError, match="without a process id"):
        stats.worker_pid()


CELLS = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), max_size=8)
ROWS = st.lists(st.tuples(CELLS, CELLS, st.sampled_from([kind.value for kind in RowKind]), CELLS), max_size=5)


@given(ROWS)
def test_whatever_the_names_rows_are_read_back(rows):
    out = io.StringIO()
    csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(rows)
    parsed = parse_statistics("# pxname,svname,type,status\n" + out.getvalue())
    assert [(row.proxy, row.service, row.kind.value, row.status) for row in parsed] == rows


@given(st.text())
def test_text_after_the_header_is_read_or_refused(text):
    try:
        rows = parse_statistics("# pxname,svname,type\n" + text)
    except ValueError:
        return
    assert all(isinstance(row.number("type"), int) for row in rows)
