# SPDX-License-Identifier: Apache-2.0
import pytest

from amphora.system.command import CommandRunner


def test_a_unit_test_cannot_run_a_command():
    with pytest.raises(BaseException, match="tried to run a command") as caught:
        CommandRunner().run(("/bin/true",), timeout=1)
    assert not isinstance(caught.value, Exception)
