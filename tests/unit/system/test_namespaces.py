# SPDX-License-Identifier: Apache-2.0
import threading

import pytest

from amphora.errors import OperationFailed
from amphora.system import namespaces
from amphora.system.command import CommandRunner


def test_an_empty_name_is_the_agents_own_namespace():
    assert namespaces.exists("")
    assert namespaces.call_inside("", threading.current_thread) is threading.current_thread()
    namespaces.ensure("", {}, CommandRunner())


def test_a_missing_namespace_is_named():
    assert not namespaces.exists("amphora-none")
    with pytest.raises(OperationFailed, match="amphora-none cannot be opened"):
        namespaces.call_inside("amphora-none", lambda: None)
