# SPDX-License-Identifier: Apache-2.0
"""Somebody removes the directory of an instance whose haproxy goes on."""

import shutil

import pytest

from amphora.system.processes import identify
from amphora.testing.agent import free_port
from tests.support.listeners import configuration, listener_id

ONE = listener_id(1)


@pytest.mark.parametrize("version", ["v0.1", "1.0"])
def test_a_delete_ends_what_runs_without_its_directory(agent, member, version):
    agent.upload(ONE, configuration(ONE, [f"127.0.0.1:{free_port()}"], member.port))
    assert agent.act(ONE, "start").status == 202
    directory = agent.base_path / ONE
    pid = int((directory / f"{ONE}.pid").read_text())
    shutil.rmtree(directory)
    assert identify(pid) is not None
    assert agent.call("DELETE", f"/{version}/listeners/{ONE}").status == 200
    assert identify(pid) is None
    assert agent.call("DELETE", f"/v0.1/listeners/{ONE}").status == 404
