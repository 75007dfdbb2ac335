# SPDX-License-Identifier: Apache-2.0
"""Controllers act on these exact words."""

import pytest

from amphora import errors
from amphora.api.errors import error_response

MAC = "fa:16:3e:00:00:01"


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (errors.InvalidVip("x is not an IP address"), 400, "Invalid VIP"),
        (errors.InvalidSubnet("gateway is missing"), 400, "Invalid subnet information"),
        (errors.NoSuchLink(MAC), 404, "No suitable network interface found"),
        (errors.InterfaceConflict("eth1 is in use"), 409, "Interface already exists"),
        (errors.PlugFailed("VIP", "no route"), 500, "Error plugging VIP"),
        (errors.PlugFailed("Port", "no route"), 500, "Error plugging Port"),
    ],
)
def test_what_a_failed_plug_is_answered(error, status, message):
    answer = error_response(error)
    assert (answer.status_code, answer.json["message"]) == (status, message)
    assert answer.json.get("details", error.details) == error.details


def test_a_missing_port_is_told_so_in_the_details_too():
    assert "No suitable network interface found" in error_response(errors.NoSuchLink(MAC)).json["details"]
