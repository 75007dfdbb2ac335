# SPDX-License-Identifier: Apache-2.0
"""One instance of a real core over fakes."""

import pytest

from amphora.core.changes.journal import Journal
from amphora.core.changes.operations import Operations
from tests.support.core import CoreRig

ID = "04bff5c3-5862-4a13-b9e3-9b440d0ed50a"
OLD = b"frontend old\n    bind 127.0.0.1:80\n"
NEW = b"frontend new\n    bind 127.0.0.1:81\n"


@pytest.fixture
def rig(memory_dir):
    return CoreRig(memory_dir)


@pytest.fixture
def layout(rig):
    return rig.directory.files(ID)


@pytest.fixture
def operations(tmp_path):
    return Operations(Journal(tmp_path / "operations"))
