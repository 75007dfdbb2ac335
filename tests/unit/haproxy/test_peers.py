# SPDX-License-Identifier: Apache-2.0
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.haproxy.program import peer_name


@pytest.mark.parametrize(
    ("amphora_id", "name"),
    [
        ("00000000-0000-4000-8000-00000000000a", "AKyjUX7exN73rl7_5RLzyrLJ5Qg"),
        ("00000000-0000-4000-8000-000000000009", "xmPZnYggPmh74TtL9zsmMW6DYhA"),
        ("amp_123", "WCbTKE70m_IHc_MucbXK5CkEoWQ"),
    ],
)
def test_names_are_those_that_controllers_write(amphora_id, name):
    assert peer_name(amphora_id) == name


@given(st.text())
def test_a_name_can_be_an_argument_and_a_word(amphora_id):
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{26}", peer_name(amphora_id))
