# SPDX-License-Identifier: Apache-2.0
import threading

from hypothesis import given
from hypothesis import strategies as st

from amphora.core.sampler import Sample, Sampler, rates_between, take_sample
from amphora.system.statistics import CpuTimes, Traffic


def sample(at, idle=0, user=0, received=0, sent=0):
    return Sample(at, CpuTimes(idle + user, idle, user, 0, 0), {"eth1": Traffic(received, sent)})


def test_rates_are_per_second_and_fractions_of_all_time():
    rates = rates_between(sample(0, 1000, 500, 100, 50), sample(30, 1057, 543, 3100, 350))
    assert (rates.cpu.total, rates.cpu.user) == (0.43, 0.43)
    assert rates.traffic == {"eth1": Traffic(100, 10)}


def test_an_interface_that_came_anew_counts_from_zero():
    before = sample(0, received=1_000_000)
    assert rates_between(before, sample(10, received=500)).traffic["eth1"].received == 50
    assert rates_between(Sample(0, before.cpu, {}), sample(10, received=500)).traffic["eth1"].received == 50


counters = st.integers(0, 2**64)


@given(st.tuples(counters, counters, counters, counters), st.tuples(counters, counters, counters, counters))
def test_no_counters_give_a_negative_rate_or_more_than_all_time(first, last):
    rates = rates_between(sample(1, *first), sample(2, *last))
    assert rates.traffic["eth1"].received >= 0
    assert rates.traffic["eth1"].sent >= 0
    assert 0 <= rates.cpu.total <= 1
    assert 0 <= rates.cpu.user <= 1


def test_the_window_slides():
    taken = threading.Semaphore(0)
    moments = iter(range(1000))

    def next_sample():
        taken.release()
        return sample(next(moments))

    sampler = Sampler(next_sample, interval=0.001)
    sampler.start()
    for _ in range(3):
        assert taken.acquire(timeout=5)
    sampler.close()
    assert len(sampler._samples) >= 2


def test_counters_that_cannot_be_read_do_not_end_the_thread():
    calls = threading.Semaphore(0)
    answers = iter([sample(0)])

    def failing():
        calls.release()
        try:
            return next(answers)
        except StopIteration:
            raise OSError("no /proc") from None

    sampler = Sampler(failing, interval=0.001)
    sampler.start()
    for _ in range(4):
        assert calls.acquire(timeout=5)
    sampler.close()


def test_a_missing_namespace_has_no_traffic():
    assert take_sample("amphora-none").traffic == {}
    assert "lo" not in take_sample("").traffic
