# SPDX-License-Identifier: Apache-2.0
"""``/0.5``: version 0.1 for Octavia's controllers of old.

They upload certificates before the configuration that uses them, lists and authorities by the same route,
UDP listeners, and the agent's own configuration.
"""

from __future__ import annotations

from dataclasses import replace

from amphora.api.routes import Branch, Table
from amphora.api.shared import SharedHandlers
from amphora.api.v0_1.listeners import ListenerHandlers
from amphora.api.v0_1.routes import routes, version_0_1
from amphora.core.services import CoreServices
from amphora.core.workloads.certificates import NAMED_PAIRS, CertificateRules


def version_0_5(core: CoreServices) -> Branch:
    """Return ``/0.5``."""
    shared = SharedHandlers(core)
    listeners = ListenerHandlers(
        core, CertificateRules(NAMED_PAIRS.filename, pairs_only=False), listener_must_exist=False
    )
    table: Table = {
        **routes(core, listeners),
        "config": {"PUT": shared.put_agent_configuration},
        "listeners/{amphora_id}/{listener}/udp_listener": {"PUT": shared.upload_udp_listener},
    }
    return replace(version_0_1(core), table=table)
