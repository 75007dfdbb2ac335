# SPDX-License-Identifier: Apache-2.0
"""Which workload an id is of."""

import pytest

from amphora.core.workloads.haproxy import HaproxyWorkload
from amphora.core.workloads.lvs import LvsWorkload
from amphora.errors import InstanceNotFound
from tests.support.lvs import EMPTY, LISTENER

ID = "04bff5c3-5862-4a13-b9e3-9b440d0ed50a"


def test_the_stored_file_decides(rig):
    rig.haproxy(ID).upload(b"frontend f\n    bind 127.0.0.1:80\n")
    rig.lvs(LISTENER).upload(EMPTY)
    assert isinstance(rig.catalog.workload(ID), HaproxyWorkload)
    assert isinstance(rig.catalog.workload(LISTENER), LvsWorkload)


def test_an_id_of_both_is_a_load_balancers(rig):
    rig.haproxy(ID).upload(b"frontend f\n    bind 127.0.0.1:80\n")
    rig.lvs(ID).upload(EMPTY)
    assert isinstance(rig.catalog.workload(ID), HaproxyWorkload)


def test_an_unknown_id_is_a_load_balancers(rig):
    found = rig.catalog.workload(ID)
    assert isinstance(found, HaproxyWorkload)
    for act in (*found.actions.values(), found.delete):
        with pytest.raises(InstanceNotFound):
            act()


def test_a_deletion_that_was_cut_short_can_be_ended(rig):
    rig.lvs(LISTENER).upload(EMPTY)
    rig.lvs(LISTENER).files.stored.unlink()
    rig.catalog.workload(LISTENER).delete()
    assert not rig.lvs(LISTENER).exists
