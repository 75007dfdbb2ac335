# SPDX-License-Identifier: Apache-2.0
"""An amphora that Octavia's own agent has driven goes on under ours. Needs root."""

import os

from tests.interop.environments import interpreter
from tests.support.inside import run_tests
from tests.support.nspawn import booted_machine, lab_directory


def test_an_amphora_of_octavias_agent_is_taken_over():
    environment = interpreter("newest").parents[1]
    with booted_machine("takeover", [environment]) as machine:
        run_tests(
            machine,
            "tests/interop/takeover_inside.py",
            LAB=str(lab_directory()),
            TERM=os.environ.get("TERM", ""),
        )
