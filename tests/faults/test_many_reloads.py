# SPDX-License-Identifier: Apache-2.0
"""Reloads of several instances at once, under load, as many as a busy day has."""

import threading

import pytest

from amphora.testing.agent import AgentProcess
from tests.faults.measures import most_workers, pss, workers
from tests.faults.rig import eventually, listening_port, served, version
from tests.support.listeners import listener_id
from tests.support.traffic import Load

INSTANCES = [listener_id(number) for number in range(1, 6)]

#: The new one, the one before it with the connection of the one client, and some more that a loaded machine
#: has not let end yet.
MOST_WORKERS = 6
#: Seconds between two samples; a reload takes many times as long.
_PAUSE = 0.005
#: MiB that an allocator may keep.
MOST_GROWTH = 6.0


@pytest.fixture
def agent(memory_dir):
    agent = AgentProcess(memory_dir)
    agent.start()
    yield agent
    agent.clean_up()


class Reloader(threading.Thread):
    """Uploads and reloads one instance, one version after the other."""

    def __init__(self, agent, identity, port, rounds):
        super().__init__()
        self.problems = []
        self._agent, self._identity, self._port, self._rounds = agent, identity, port, rounds

    def run(self):
        for number in self._rounds:
            marker = f"version {number}"
            uploaded = self._agent.upload(self._identity, version(self._identity, self._port, marker))
            reloaded = self._agent.act(self._identity, "reload")
            if (uploaded.status, reloaded.status) != (201, 202):
                self.problems.append((number, uploaded.body, reloaded.body))
            if served(self._port) != marker:
                self.problems.append((number, "what was answered is not served"))


class Sampler(threading.Thread):
    """Counts workers all the time, during reloads too; used as a context.

    :ivar most: of one instance at one moment.
    :ivar samples: of all instances together.
    """

    def __init__(self, agent):
        super().__init__()
        self.most, self.samples = 0, 0
        self._agent = agent
        self._over = threading.Event()

    def run(self):
        while not self._over.wait(_PAUSE):
            self.most = max(self.most, most_workers(self._agent, INSTANCES))
            self.samples += 1

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self.join()


def reload_all(agent, ports, rounds):
    """Reload all instances side by side."""
    reloaders = [Reloader(agent, *instance, rounds) for instance in ports.items()]
    for reloader in reloaders:
        reloader.start()
    for reloader in reloaders:
        reloader.join()
    assert [reloader.problems for reloader in reloaders] == [[]] * len(reloaders)


@pytest.mark.parametrize("count", [20, pytest.param(100, marks=pytest.mark.slow)])
def test_reloads_of_five_instances_at_once_fail_no_request(agent, count, report):
    ports = {identity: listening_port() for identity in INSTANCES}
    for identity, port in ports.items():
        assert agent.upload(identity, version(identity, port, "version 0")).status == 201
        assert agent.act(identity, "start").status == 202
    with Load(*ports.values(), clients=5, pause=0.02) as load, Sampler(agent) as sampler:
        warm_up = count // 4
        reload_all(agent, ports, range(1, warm_up + 1))
        before = pss(agent.pid)
        reload_all(agent, ports, range(warm_up + 1, count + 1))
        after = pss(agent.pid)
    left = eventually(lambda: [each for each in INSTANCES if workers(agent, each) != 1])
    report(
        f"{count} reloads of each of 5 instances at once: {load.good} requests, {len(load.failures)} failed; "
        f"at most {sampler.most} workers in {sampler.samples} samples; agent {before:.1f} -> {after:.1f} MiB"
    )
    assert load.failures == []
    assert sampler.samples > count
    assert 2 <= sampler.most <= MOST_WORKERS
    assert not left
    assert after - before < MOST_GROWTH
