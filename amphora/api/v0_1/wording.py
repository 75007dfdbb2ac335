# SPDX-License-Identifier: Apache-2.0
"""The wording of API v0.1, which calls an instance a listener."""

from __future__ import annotations

from amphora import errors
from amphora.api.errors import AS_IN_TABLE, Wording

WORDING = Wording(
    bodies=(
        (
            errors.InstanceNotFound,
            lambda error: {
                "message": "Listener Not Found",
                "details": f"No listener with UUID: {error.instance_id}",
            },
        ),
    ),
    defect=AS_IN_TABLE.defect,
    names_methods=True,
)
