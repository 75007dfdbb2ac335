# SPDX-License-Identifier: Apache-2.0
"""What this agent tells beyond any version of the API."""

from __future__ import annotations

from importlib.metadata import version

from amphora.api.extensions.drift import DriftController
from amphora.api.extensions.instances import InstancesController
from amphora.api.extensions.metrics import MetricsController
from amphora.api.extensions.operations import OperationsController
from amphora.api.resource import Branch, Resource
from amphora.core.services import CoreServices


def extensions_branch(core: CoreServices) -> Branch:
    """Return ``/extensions``."""
    children: dict[str, Resource] = {
        "drift": DriftController(core.drift),
        "instances": InstancesController(core.processes, core.operations),
        "metrics": MetricsController(core, version("amphora-agent")),
        "operations": OperationsController(core.operations),
    }
    return Branch(children.get)
