# SPDX-License-Identifier: Apache-2.0
import pytest

from amphora.errors import ProofFailed, ReloadRefused
from amphora.haproxy.control.master import MasterSocket
from amphora.haproxy.control.stats import StatsSocket
from amphora.haproxy.proof import prove as proof
from amphora.haproxy.proof.probe_binds import BindProbe, ProbeReport, ProbeResult
from amphora.haproxy.proof.prove import Generation, snapshot
from amphora.haproxy.reading.configuration import parse

CONFIGURATION = parse(b"frontend f\n bind :1\nfrontend off\n disabled\n")
BEFORE = Generation(10, 2, frozenset({10, 11}))


class Clock:
    """Time that only passes while somebody sleeps."""

    def __init__(self):
        self.now = 100.0
        self.pauses = []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.pauses.append(seconds)
        self.now += seconds


def processes(master=10, reloads=3, failed=" [failed: 0]", workers=((12, 0),)):
    rows = "".join(f"{pid} worker {count} 0d00h00m00s 2.6\n" for pid, count in workers)
    return f"{master} master {reloads}{failed} 0d00h00m09s 2.6\n# workers\n{rows}# programs\n"


def worker(pid=12, status="OPEN"):
    answers = {
        "show info": f"Pid: {pid}\n",
        "show stat": f"# pxname,svname,type,status\nf,FRONTEND,0,{status}\n",
    }
    return answers.__getitem__


@pytest.fixture
def prove(scripted_socket):
    """Prove a reload against scripted sockets; a start when there is nothing before."""
    clock = Clock()

    def run(master_answers, stats_answers=None, before=BEFORE, seconds=1.0, probe=None, abort_reason=str):
        master = MasterSocket(scripted_socket(*master_answers, name="master.sock").path, 5)
        stats = StatsSocket(scripted_socket(*(stats_answers or [worker()]), name="stats.sock").path, 5)
        arguments = (master, stats, CONFIGURATION, clock() + seconds)
        options = {"clock": clock, "sleep": clock.sleep, "probe": probe, "abort_reason": abort_reason}
        return proof.prove(*arguments, before=before, **options)

    run.clock = clock
    return run


def test_a_new_worker_with_open_frontends_is_proof(prove):
    evidence = prove([processes()])
    assert (evidence.master_pid, evidence.worker_pid, evidence.reloads) == (10, 12, 3)
    assert (evidence.frontends, evidence.seconds) == (("f",), 0.0)


def test_a_full_frontend_serves(prove):
    assert prove([processes()], [worker(status="FULL")]).frontends == ("f",)


def test_the_sockets_may_be_away_for_a_while(prove):
    odd = "Can't find the target CLI!\n"
    evidence = prove(
        [odd, processes(reloads=2, workers=((11, 0),)), odd, processes()], ["", worker(11), worker()]
    )
    assert evidence.worker_pid == 12
    assert evidence.seconds == pytest.approx(0.005 + 0.01 + 0.02 + 0.04 + 0.05)


def test_a_failed_load_is_a_refusal_at_once(prove):
    with pytest.raises(ReloadRefused, match=r"master process 10\) could not load .* goes on with worker 11"):
        prove([processes(failed=" [failed: 1]", workers=((11, 1),))])
    assert prove.clock.pauses == []


def test_failures_before_this_reload_are_not_its_own(prove):
    before = processes(reloads=2, failed=" [failed: 1]", workers=((11, 1),))
    assert prove([before, processes()]).worker_pid == 12


def test_where_failures_are_not_counted_a_new_worker_is_proof(prove):
    assert prove([processes(failed="")]).worker_pid == 12


def test_where_failures_are_not_counted_a_kept_worker_is_a_refusal(prove):
    with pytest.raises(ReloadRefused, match="goes on with worker 11"):
        prove([processes(failed="", workers=((11, 1),))])


def test_a_restarted_master_has_read_the_files_too(prove):
    evidence = prove([processes(master=20, reloads=0, workers=((21, 0),))], [worker(21)])
    assert (evidence.master_pid, evidence.worker_pid) == (20, 21)


@pytest.mark.parametrize(
    ("master", "stats", "missing"),
    [
        (processes(reloads=2), worker(), "master process 10 has not begun the reload"),
        (processes(workers=()), worker(), "master process 10 has no new worker"),
        (processes(), worker(11), "process 11 still answers on the stats socket"),
        (processes(), worker(status="STOP"), "not open: frontend f"),
        (processes(), "", "closed the connection"),
    ],
)
def test_what_never_shows_is_named_after_the_deadline(prove, master, stats, missing):
    with pytest.raises(ProofFailed, match=missing):
        prove([master], [stats])
    assert prove.clock.now == pytest.approx(101.0)
    assert max(prove.clock.pauses) == 0.05


@pytest.mark.parametrize("before", [None, BEFORE])
def test_what_is_given_up_is_not_waited_for(prove, before):
    words = iter(["", "", "it has ended"])
    with pytest.raises(ProofFailed, match="^it has ended: master process 10 has no new worker"):
        prove([processes(workers=())], before=before, abort_reason=lambda: next(words))
    assert len(prove.clock.pauses) == 2


def test_a_start_is_proven_by_any_worker(prove):
    assert prove([processes(reloads=0)], before=None).worker_pid == 12


def test_a_start_without_a_worker_is_not(prove):
    with pytest.raises(ProofFailed, match="has no new worker"):
        prove([processes(workers=())], before=None)


def test_a_snapshot_holds_every_process(scripted_socket):
    master = MasterSocket(scripted_socket(processes(reloads=2, workers=((11, 0),))).path, 5)
    assert snapshot(master) == BEFORE


def test_there_is_no_snapshot_without_an_answer(short_dir):
    assert snapshot(MasterSocket(short_dir / "gone.sock", 1)) is None


def looks(*reports):
    """Give one report after the other, the last one for ever; record whom they are about."""
    left, workers = list(reports), []

    def reach(configuration, pids):
        assert configuration is CONFIGURATION
        workers.extend(pids)
        return left.pop(0) if len(left) > 1 else left[0]

    return reach, workers


UNREACHED = BindProbe(2, "f", ":1", ProbeResult.UNREACHED, "the worker does not listen on port 1")
REACHED = BindProbe(2, "f", ":1", ProbeResult.CONNECTED)


def test_binds_are_looked_at_until_all_are_reached(prove):
    reach, workers = looks(ProbeReport((UNREACHED,), {"f": 1}), ProbeReport((REACHED,), {"f": 1}))
    evidence = prove([processes()], probe=reach)
    assert workers == [12, 12]
    assert evidence.probe == ProbeReport((REACHED,), {"f": 2})


def test_a_bind_that_is_never_reached_is_no_proof(prove):
    reach, workers = looks(ProbeReport((UNREACHED,)))
    with pytest.raises(
        ProofFailed, match="line 2: bind :1 not reached .the worker does not listen on port 1"
    ):
        prove([processes()], probe=reach, seconds=10)
    # Each look can leave a line in somebody's log.
    assert len(workers) < 25


def test_binds_of_a_closed_frontend_are_not_looked_at(prove):
    reach, workers = looks(ProbeReport((REACHED,)))
    with pytest.raises(ProofFailed, match="not open: frontend f"):
        prove([processes()], [worker(status="STOP")], probe=reach)
    assert workers == []


def test_evidence_is_for_people_too(prove):
    old = "# old workers\n11 worker 1 0d00h00m09s 2.6\n# programs\n"
    reach, _ = looks(ProbeReport((REACHED,)))
    evidence = prove([processes().replace("# programs\n", old)], probe=reach)
    assert evidence.old_workers == 1
    assert str(evidence) == (
        "worker 12 of master 10 serves after 0.00 s; reloads: 3; frontends open: 1; old workers: 1; "
        "binds: 1 (answers: 1)"
    )
