# SPDX-License-Identifier: Apache-2.0
"""Workers and controllers for one test."""

import pytest

from tests.support.heartbeats import Receiver, Worker


@pytest.fixture
def make_worker():
    """Make workers; their directory is made with them."""
    made = []

    def make(path, **options):
        path.parent.mkdir(exist_ok=True)
        made.append(Worker(path, **options))
        return made[-1]

    yield make
    for worker in made:
        worker.close()


@pytest.fixture
def make_receiver():
    """Make controllers' sockets."""
    made = []

    def make(*arguments, **options):
        made.append(Receiver(*arguments, **options))
        return made[-1]

    yield make
    for receiver in made:
        receiver.close()
