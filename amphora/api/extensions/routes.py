# SPDX-License-Identifier: Apache-2.0
"""``/extensions``: what this agent reports beyond any version of the API."""

from __future__ import annotations

from amphora.api.extensions.drift import DriftHandlers
from amphora.api.extensions.instances import InstanceHandlers
from amphora.api.extensions.metrics import MetricsHandler
from amphora.api.extensions.operations import OperationHandlers
from amphora.api.routes import Branch
from amphora.core.services import CoreServices


def extensions(core: CoreServices) -> Branch:
    """Return ``/extensions``."""
    operations = OperationHandlers(core.operations)
    instances = InstanceHandlers(core.processes, core.operations)
    return Branch(
        {
            "drift": {"GET": DriftHandlers(core.drift).get},
            "instances": {"GET": instances.all},
            "instances/{id}": {"GET": instances.one},
            "metrics": {"GET": MetricsHandler(core).get},
            "operations": {"GET": operations.all},
            "operations/{id}": {"GET": operations.one},
        }
    )
