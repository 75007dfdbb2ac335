# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.errors import ControlSocketError
from amphora.haproxy.control.master import MasterProcesses, MasterSocket, Process, Verdict, parse_processes

HAPROXY_2_6 = """\
#<PID>          <type>          <reloads>       <uptime>        <version>      \n\
15520           master          3 [failed: 1]   0d00h00m28s     2.6.12-1+deb12u4
# workers
15601           worker          1               0d00h00m26s     2.6.12-1+deb12u4
# old workers
1233            worker          3               0d00h00m43s     2.6.12-1+deb12u4
# programs
1244            foo             0               0d00h00m00s     -

"""
HAPROXY_2_0 = """\
#<PID>          <type>          <relative PID>  <reloads>       <uptime>        <version>
1162            master          0               5               0d00h02m07s     2.0-dev3-6019f6-289
# workers
1271            worker          1               0               0d00h00m00s     2.0-dev3-6019f6-289
1272            worker          2               0               0d00h00m00s     2.0-dev3-6019f6-289
# old workers
1233            worker          [was: 1]        3               0d00h00m43s     2.0-dev3-6019f6-289
# programs
1244            foo             -               0               0d00h00m00s     -
"""
HAPROXY_3_2_AFTER_A_FAILED_RELOAD = """\
#<PID>          <type>          <reloads>       <uptime>        <version>      \n\
25359           master          3 [failed: 1]   0d00h00m10s     3.2.26-1       \n\
# workers
# old workers
25384           worker          2               0d00h00m09s     3.2.26-1       \n\
25361           worker          3               0d00h00m10s     3.2.26-1       \n\

"""
HAPROXY_3_2_LOADING = """\
#<PID>          <type>          <reloads>       <uptime>        <version>      \n\
25359           master          3 [failed: 0]   0d00h00m08s     3.2.26-1       \n\
# workers
25437           worker          0               0d00h00m00s     3.2.26-1       \n\
# old workers
25384           worker          2               0d00h00m07s     3.2.26-1       \n\
25361           worker          3               0d00h00m08s     3.2.26-1       \n\

"""


def test_processes_of_2_6():
    assert parse_processes(HAPROXY_2_6) == MasterProcesses(
        Process(15520, 3), 1, (Process(15601, 1),), (Process(1233, 3),)
    )


def test_processes_of_2_0():
    assert parse_processes(HAPROXY_2_0) == MasterProcesses(
        Process(1162, 5), None, (Process(1271, 0), Process(1272, 0)), (Process(1233, 3),)
    )


@pytest.mark.parametrize(
    ("text", "serving"),
    [
        (HAPROXY_2_6, 15601),
        (HAPROXY_3_2_AFTER_A_FAILED_RELOAD, 25384),
        ("1 master 0 [failed: 1] 0d00h00m00s 3.2\n# workers\n", None),
    ],
)
def test_the_worker_that_serves_is_known_whichever_list_it_is_in(text, serving):
    worker = parse_processes(text).serving
    assert (worker and worker.pid) == serving


def test_processes_of_3_2_while_a_worker_loads():
    assert parse_processes(HAPROXY_3_2_LOADING) == MasterProcesses(
        Process(25359, 3), 0, (Process(25437, 0),), (Process(25384, 2), Process(25361, 3))
    )


def test_ids_of_all_processes():
    assert parse_processes(HAPROXY_2_6).pids() == {15520, 15601, 1233}


@pytest.mark.parametrize(
    "text", ["", "Unknown command\n", "# workers\n1 worker 0 0d00h00m00s 2.6\n", "9" * 5000]
)
def test_an_answer_without_a_master_is_refused(text):
    with pytest.raises(ValueError, match="no master process"):
        parse_processes(text)


def test_the_socket_is_asked(scripted_socket):
    server = scripted_socket(HAPROXY_2_6)
    assert MasterSocket(server.path, 5).processes().master.pid == 15520
    assert server.commands == ["show proc"]


def test_an_odd_answer_names_the_socket(scripted_socket):
    server = scripted_socket("Permission denied\n")
    with pytest.raises(ControlSocketError, match="haproxy.sock answered 'show proc' oddly"):
        MasterSocket(server.path, 5).processes()


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ("Success=1\n", Verdict(True, "")),
        ("Success=1\n--\n[NOTICE]   (1) : x\n\n", Verdict(True, "[NOTICE]   (1) : x")),
        (
            "Success=0\n--\n[ALERT] (2) : a\n[ALERT] (2) : b\n\n",
            Verdict(False, "[ALERT] (2) : a\n[ALERT] (2) : b"),
        ),
    ],
)
def test_the_verdict_on_a_reload(scripted_socket, answer, verdict):
    server = scripted_socket(answer)
    assert MasterSocket(server.path, 5).reload(5) == verdict
    assert server.commands == ["reload"]


@pytest.mark.parametrize("answer", ["", "Unknown command\n", "Success=2\n", "--\nSuccess=1\n"])
def test_no_verdict_is_none(scripted_socket, answer):
    # 2.6 reloads and closes the connection.
    with pytest.raises(ControlSocketError, match="without an answer to 'reload'|answered 'reload' oddly"):
        MasterSocket(scripted_socket(answer).path, 5).reload(5)


PIDS = st.integers(1, 4_194_304)
COUNTS = st.integers(0, 2**31 - 1)
PROCESSES = st.builds(Process, PIDS, COUNTS)
LISTS = st.lists(PROCESSES, max_size=4).map(tuple)


def rendered(processes, relative):
    """Write a process list with the columns that haproxy prints, 15 characters wide or more."""

    def row(process, kind, number, failed=""):
        cells = [
            process.pid,
            kind,
            *([number] if relative else []),
            f"{process.reloads}{failed}",
            "1d02h03m04s",
            "2.x",
        ]
        return " ".join(f"{cell:<15}" for cell in cells)

    failed = "" if processes.failed is None else f" [failed: {processes.failed}]"
    lines = ["#<PID>", row(processes.master, "master", 0, failed), "# workers"]
    lines += [row(worker, "worker", n) for n, worker in enumerate(processes.workers, 1)]
    lines += ["# old workers"] + [row(worker, "worker", "[was: 1]") for worker in processes.old_workers]
    return "\n".join([*lines, "# programs", row(Process(1, 0), "prog", "-"), ""])


@given(st.builds(MasterProcesses, PROCESSES, st.none() | COUNTS, LISTS, LISTS), st.booleans())
def test_every_process_list_is_read_back(processes, relative):
    assert parse_processes(rendered(processes, relative)) == processes


@given(st.text(st.sampled_from(list("0123 masterwok#[]fild:\ndhms-\t"))))
def test_odd_text_is_read_or_refused(text):
    # Only ValueError may come: the socket's owner is told of nothing else.
    try:
        processes = parse_processes(text)
    except ValueError:
        return
    assert processes.master.pid in processes.pids()
