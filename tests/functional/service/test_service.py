# SPDX-License-Identifier: Apache-2.0
"""The agent's own service on a machine booted with systemd. Needs root."""

from __future__ import annotations

import pytest

from tests.support.inside import run_tests
from tests.support.nspawn import booted_machine

pytestmark = [
    pytest.mark.real_commands,
    pytest.mark.skipif("os.geteuid() != 0", reason="booting a machine needs root"),
]

HERE = "tests/functional/service"


@pytest.fixture(scope="module")
def machine():
    with booted_machine("service") as machine:
        yield machine


def test_unit_works_in_its_sandbox(machine):
    run_tests(machine, f"{HERE}/systemd_inside.py")


def test_init_script_works_with_its_tools(machine):
    run_tests(machine, f"{HERE}/init_script_inside.py")


def test_what_octavias_agent_has_started_goes_on():
    with booted_machine("octavia") as machine:
        run_tests(machine, f"{HERE}/octavia_inside.py")
