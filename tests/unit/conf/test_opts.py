# SPDX-License-Identifier: Apache-2.0
import pytest

from amphora.conf import opts

OPTIONS = [
    pytest.param(option, id=f"{group}.{option.name}")
    for group, group_options in opts.list_opts()
    for option in group_options
]


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_says_when_to_change_it(option):
    assert option.help
    assert option.help.rstrip().endswith(".")
