# SPDX-License-Identifier: Apache-2.0
"""What this agent tells beyond any version of the API."""

from __future__ import annotations

from amphora.api.extensions.drift import DriftController
from amphora.api.extensions.operations import OperationsController
from amphora.api.resource import Branch, Resource
from amphora.core.services import CoreServices


def extensions_branch(core: CoreServices) -> Branch:
    """Return ``/extensions``."""
    children: dict[str, Resource] = {
        "drift": DriftController(core.drift),
        "operations": OperationsController(core.operations),
    }
    return Branch(children.get)
