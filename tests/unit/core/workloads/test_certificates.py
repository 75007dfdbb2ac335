# SPDX-License-Identifier: Apache-2.0
import hashlib
import uuid

import pytest

from amphora.core.changes.journal import Journal, Operation, OperationState
from amphora.core.changes.operations import DELETE, Operations
from amphora.system import files

INSTANCE = "7e9f91eb-b3e6-4e3b-a1a7-d6f7fdc1de7c"
FILENAME = "www.example.com.pem"
OLD, NEW = b"old", b"new"


def md5(data):
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def cut_off(base_path, kind, intent, step):
    """Leave the journal of a change that was cut off, and return its identity."""
    identity = str(uuid.uuid4())
    target = f"{INSTANCE}-certificates"
    journal = Journal(base_path / "operations")
    journal.begin(Operation(identity, kind, target, 1.0, intent))
    journal.note(target, {"begins": step})
    return identity


@pytest.mark.parametrize(
    ("kind", "wanted", "step", "found", "state"),
    [
        ("put", md5(NEW), "swap", NEW, OperationState.DONE),
        ("put", md5(NEW), "swap", OLD, OperationState.UNDONE),
        ("put", md5(NEW), "swap", None, OperationState.UNDONE),
        ("put", md5(NEW), "prove", NEW, OperationState.DONE),
        ("put", md5(NEW), "stage", OLD, OperationState.UNDONE),
        (DELETE, None, "swap", None, OperationState.DONE),
        (DELETE, None, "swap", OLD, OperationState.UNDONE),
    ],
)
def test_a_change_that_was_cut_off_is_told_by_what_is_stored(rig, kind, wanted, step, found, state):
    if found is not None:
        rig.cert_store.put(INSTANCE, FILENAME, found)
    identity = cut_off(rig.base_path, kind, f"{FILENAME} {wanted}", step)
    rig.operations.recover()
    rig.services.certificates.recover()
    told = rig.operations.get(identity)
    assert told.state is state
    assert FILENAME in told.evidence


def test_changes_of_other_things_are_left_to_others(rig):
    journal = Journal(rig.base_path / "operations")
    journal.begin(Operation("id", DELETE, INSTANCE, 1.0))
    rig.operations.recover()
    rig.services.certificates.recover()
    assert rig.operations.get("id").state is OperationState.UNDER_WAY


def test_the_journal_tells_what_a_change_is_to_lead_to(rig):
    rig.operations.recover()
    files.ensure_directory(rig.directory.files(INSTANCE).directory)
    rig.cert_store.put(INSTANCE, FILENAME, OLD)
    rig.services.certificates.delete(INSTANCE, FILENAME)
    again = Operations(Journal(rig.base_path / "operations"))
    again.recover()
    assert [operation.intent for operation in again.all()] == [f"{FILENAME} None"]
