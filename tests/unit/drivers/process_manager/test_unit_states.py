# SPDX-License-Identifier: Apache-2.0

from dataclasses import replace

import pytest

from amphora.drivers.process_manager.systemd.bus import UnitState, describe_end, escape_label, service_state
from amphora.models import ServiceState

UNIT = UnitState("active", "running", True, False, "success", 42, 0, 0, "", "")


@pytest.mark.parametrize(
    ("active", "sub", "enabled", "main_pid", "state"),
    [
        ("active", "running", True, 42, ServiceState.RUNNING),
        ("reloading", "reload", True, 42, ServiceState.RUNNING),
        ("activating", "start-pre", True, 0, ServiceState.STARTING),
        ("activating", "start", True, 42, ServiceState.STARTING),
        ("activating", "auto-restart", True, 0, ServiceState.STARTING),
        ("deactivating", "stop-sigterm", False, 42, ServiceState.RUNNING),
        ("deactivating", "final-sigkill", True, 0, ServiceState.STARTING),
        ("deactivating", "final-sigkill", False, 0, ServiceState.STOPPED),
        ("inactive", "dead", False, 0, ServiceState.STOPPED),
        ("inactive", "dead", True, 0, ServiceState.FAILED),
        ("failed", "failed", True, 0, ServiceState.FAILED),
        ("failed", "failed", False, 0, ServiceState.STOPPED),
    ],
)
def test_states(active, sub, enabled, main_pid, state):
    unit = replace(UNIT, active_state=active, sub_state=sub, is_enabled=enabled, main_pid=main_pid)
    assert service_state(unit) is state


@pytest.mark.parametrize(
    ("result", "code", "status", "words"),
    [
        ("success", 0, 0, ""),
        ("exit-code", 1, 3, "it ended with exit status 3 (systemd: exit-code)"),
        ("signal", 2, 9, "it was killed by SIGKILL (systemd: signal)"),
        ("core-dump", 3, 11, "it was killed by SIGSEGV (systemd: core-dump)"),
        ("signal", 2, 99, "it was killed by signal 99 (systemd: signal)"),
        ("timeout", 0, 0, "systemd: timeout"),
    ],
)
def test_ends(result, code, status, words):
    assert describe_end(replace(UNIT, result=result, exit_code=code, exit_status=status)) == words


@pytest.mark.parametrize(
    ("name", "label"),
    [("web.service", "web_2eservice"), ("4a-b_c.service", "_34a_2db_5fc_2eservice"), ("a4", "a4")],
)
def test_labels(name, label):
    assert escape_label(name) == label
