# SPDX-License-Identifier: Apache-2.0
"""Every row of every table is reached by its path, and by no other method than those it has."""

import re

import pytest

from amphora.api.extensions.routes import extensions
from amphora.api.v0_1.routes import version_0_1
from amphora.api.v0_5.routes import version_0_5
from amphora.api.v1_0.routes import version_1_0
from tests.api.conftest import LISTENER

BRANCHES = {"v0.1": version_0_1, "0.5": version_0_5, "1.0": version_1_0, "extensions": extensions}
METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")


@pytest.mark.parametrize("name", BRANCHES)
def test_a_path_has_the_methods_of_its_row(client, rig, name):
    table = BRANCHES[name](rig.services).table
    assert table
    for path, handlers in table.items():
        filled = f"/{name}/" + re.sub(r"\{\w+\}", LISTENER, path)
        for method in METHODS:
            answer = client.do(method, filled)
            assert (answer.status_int == 405) == (method not in handlers), (method, filled)
        if name != "1.0":
            assert client.do("PATCH", filled).headers["Allow"] == ", ".join(sorted(handlers))


@pytest.mark.parametrize("name", BRANCHES)
def test_a_path_has_no_more_segments_than_its_row(client, rig, name):
    table = BRANCHES[name](rig.services).table
    for path in table:
        filled = f"/{name}/" + re.sub(r"\{\w+\}", LISTENER, path)
        for other in (f"{filled}/x/y/z", filled.replace("/", "//", 2).replace("//", "/", 1)):
            assert client.do("GET", other).status_int == 404, other


@pytest.mark.parametrize(("name", "status"), [("v0.1", 405), ("0.5", 405), ("1.0", 404), ("extensions", 405)])
def test_a_slash_at_the_end_is_no_part_of_a_path_but_in_1_0(client, rig, name, status):
    for path in BRANCHES[name](rig.services).table:
        filled = f"/{name}/" + re.sub(r"\{\w+\}", LISTENER, path)
        assert client.do("PATCH", f"{filled}/").status_int == status
        assert client.do("PATCH", f"{filled}//").status_int == 404


def test_what_0_5_has_beyond_0_1(rig):
    old, new = (set(make(rig.services).table) for make in (version_0_5, version_0_1))
    assert old - new == {"config", "listeners/{amphora_id}/{listener}/udp_listener"}
    assert new - old == set()
