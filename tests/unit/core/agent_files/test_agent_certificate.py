# SPDX-License-Identifier: Apache-2.0
import pytest

from amphora.core.agent_files import AgentCertificate
from amphora.errors import ConfigurationError, InvalidInput, KeyMismatch, OperationFailed
from amphora.testing.pki import Pki


@pytest.fixture
def pki(tmp_path):
    return Pki(tmp_path)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "in use.pem"
    path.write_bytes(b"former")
    return path


def nothing(*_args):
    pass


def raising(error):
    def function(*_args):
        raise error

    return function


def left(path):
    return sorted(each.name for each in path.parent.iterdir() if each.name.startswith("in use"))


def test_new_material_is_stored_and_taken_up(pki, path, operations):
    seen = []
    body = pki.server("amphora").path.read_bytes()
    AgentCertificate(path, nothing, lambda: seen.append(path.read_bytes()), operations).put(body)
    assert seen == [body]
    assert left(path) == ["in use.pem"]


@pytest.mark.parametrize(
    ("validate", "expected"),
    [(nothing, KeyMismatch), (raising(ConfigurationError("key too small")), InvalidInput)],
)
def test_unusable_material_leaves_the_former(pki, path, validate, expected, operations):
    body = pki.server("one").path.read_bytes()
    if expected is KeyMismatch:
        body = pki.server("two").certificate_pem + pki.server("three").key_pem
    with pytest.raises(expected):
        AgentCertificate(path, validate, raising(AssertionError("taken up")), operations).put(body)
    assert path.read_bytes() == b"former"
    assert left(path) == ["in use.pem"]


def test_a_swap_that_fails_is_undone(pki, path, operations):
    body = pki.server("amphora").path.read_bytes()
    with pytest.raises(OperationFailed, match="(?s)no\nThe former one is stored again|no\nThe agent goes on"):
        AgentCertificate(path, nothing, raising(RuntimeError("no")), operations).put(body)
    assert path.read_bytes() == b"former"
