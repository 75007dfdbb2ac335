# SPDX-License-Identifier: Apache-2.0
"""Which engine an id is of."""

import pytest

from amphora.core.workloads.catalog import Engine
from amphora.errors import InstanceNotFound
from tests.support.lvs import EMPTY, LISTENER

ID = "04bff5c3-5862-4a13-b9e3-9b440d0ed50a"


def test_the_stored_file_decides(rig):
    objects = rig.services.objects
    rig.instances.upload(ID, b"frontend f\n    bind 127.0.0.1:80\n")
    rig.services.lvs.upload(LISTENER, EMPTY)
    assert objects.find(ID).engine is Engine.HAPROXY
    assert objects.find(LISTENER).engine is Engine.LVS


def test_an_id_of_both_is_a_load_balancers(rig):
    rig.instances.upload(ID, b"frontend f\n    bind 127.0.0.1:80\n")
    rig.services.lvs.upload(ID, EMPTY)
    assert rig.services.objects.find(ID).engine is Engine.HAPROXY


def test_an_unknown_id_is_a_load_balancers(rig):
    found = rig.services.objects.find(ID)
    assert found.engine is Engine.HAPROXY
    for act in (*found.actions.values(), found.delete):
        with pytest.raises(InstanceNotFound):
            act()


def test_a_deletion_that_was_cut_short_can_be_ended(rig):
    rig.services.lvs.upload(LISTENER, EMPTY)
    rig.lvs.directory.layout(LISTENER).stored.unlink()
    rig.services.objects.find(LISTENER).delete()
    assert not rig.services.lvs.knows(LISTENER)
