# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from amphora.system import statistics
from amphora.system.statistics import CpuTimes, Traffic

STAT = "cpu  100 20 30 400 50 6 7 8 90 10\ncpu0 1 2 3\nbtime 1\n"
MEMINFO = "MemTotal:        4087402 kB\nHugePages_Total:       3\nCommitted_AS: 2643480 kB\nodd line\n"
NET_DEV = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop
    lo:     100       1    0    0    0     0          0         0      100       1    0    0
  eth1: 3300138       9    0    0    0     0          0         0   982001       9    0    0
"""


def test_cpu_times_count_nice_as_user_and_iowait_as_idle():
    assert statistics.parse_cpu_times(STAT) == CpuTimes(621, 450, 120, 30, 7)


def test_memory_has_names_and_numbers():
    assert statistics.parse_memory(MEMINFO) == {
        "MemTotal": 4087402,
        "HugePages_Total": 3,
        "Committed_AS": 2643480,
    }


def test_traffic_is_told_by_interface():
    assert statistics.parse_traffic(NET_DEV) == {
        "lo": Traffic(100, 100),
        "eth1": Traffic(3300138, 982001),
    }


@given(st.text())
def test_any_text_can_be_parsed(text):
    assert all(value >= 0 for value in statistics.parse_memory(text).values())
    assert all(counter.sent >= 0 for counter in statistics.parse_traffic(text).values())


@given(st.lists(st.integers(0, 2**63), min_size=4, max_size=10))
def test_any_number_of_columns_can_be_read(fields):
    times = statistics.parse_cpu_times(f"cpu  {' '.join(map(str, fields))}\n")
    assert times.total >= times.idle
    assert times.total >= times.soft_irq


def test_this_machine_can_be_read():
    assert statistics.cpu_times().total > 0
    assert statistics.memory()["MemTotal"] > 0
    assert len(statistics.load_averages()) == 3
    assert statistics.disk_space(Path("/")).used > 0
    assert "lo" in statistics.traffic()
