# SPDX-License-Identifier: Apache-2.0
import pytest

from amphora.core.agent_files import AgentFile
from amphora.core.changes.journal import Journal, Operation, OperationState
from amphora.core.changes.operations import Operations
from amphora.errors import ChangeFailed, OperationFailed


class Broken(Operations):
    """Operations whose changes fail at one step, before or after its work."""

    def __init__(self, directory, step, *, after):
        super().__init__(Journal(directory))
        self._broken, self._after = step, after

    def run(self, change, intent=""):
        work = getattr(change, self._broken) or (lambda: None)

        def fail():
            if self._after:
                work()
            raise OperationFailed("no")

        object.__setattr__(change, self._broken, fail)
        return super().run(change, intent)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "own" / "agent.conf"
    path.parent.mkdir()
    path.write_bytes(b"old")
    return path


@pytest.mark.parametrize("step", ["stage", "check", "preflight", "swap", "apply", "prove", "commit"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_whatever_fails_only_the_old_or_the_new_file_is_left(path, tmp_path, step, after):
    operations = Broken(tmp_path / "operations", step, after=after)
    taken_up = []

    def apply():
        taken_up.append(path.read_bytes())

    file = AgentFile("agent-configuration", lambda _: None, apply, operations)
    stands = step == "commit" and after
    if stands:
        file.replace(path, b"new")
    else:
        with pytest.raises(ChangeFailed):
            file.replace(path, b"new")
    assert path.read_bytes() == (b"new" if stands else b"old")
    assert [each.name for each in path.parent.iterdir()] == [path.name], "no second name and no trial is left"
    assert taken_up[-1:] in ([], [path.read_bytes()])
    (told,) = operations.all()
    assert told.state is (OperationState.DONE if stands else OperationState.UNDONE)


@pytest.mark.parametrize(
    ("content", "state"), [(b"new", OperationState.DONE), (b"old", OperationState.UNDONE)], ids=["new", "old"]
)
def test_a_replacement_that_was_cut_off_is_told_by_what_is_there(path, operations, content, state):
    """Whatever step it was cut off in, that of going back among them."""
    file = AgentFile("agent-configuration", lambda _: None, lambda: None, operations)
    file.replace(path, b"new")
    (made,) = operations.all()
    journal = Journal(path.parents[1] / "again")
    journal.begin(Operation("id", made.kind, made.target, 1.0, made.intent))
    for step in ("swap", "restore"):
        journal.note(made.target, {"begins": step})
    path.write_bytes(content)
    again = Operations(journal)
    again.recover()
    AgentFile("agent-configuration", lambda _: None, lambda: None, again).recover(path)
    assert again.get("id").state is state
