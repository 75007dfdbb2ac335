# SPDX-License-Identifier: Apache-2.0
"""What the agent's threads take memory from."""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

#: Bytes that the GNU C library sets aside for an arena, and to which it aligns it.
ARENA = 64 * 1024 * 1024


def arenas(pid):
    """Return how many arenas beside the main one a process has: each begins in use and ends set aside."""
    mappings = [line.split()[:2] for line in Path(f"/proc/{pid}/maps").read_text().splitlines()]
    parsed = [(*(int(word, 16) for word in span.split("-")), rights) for span, rights in mappings]
    return sum(
        start % ARENA == 0 and next_end == start + ARENA and (rights, next_rights) == ("rw-p", "---p")
        for (start, _, rights), (_, next_end, next_rights) in pairwise(parsed)
    )


def test_all_threads_share_one_arena(agent):
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: agent.call("GET", "/v0.1/details"), range(64)))
    assert {answer.status for answer in answers} == {200}
    assert arenas(agent.pid) == 0
