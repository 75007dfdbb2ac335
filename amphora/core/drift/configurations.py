# SPDX-License-Identifier: Apache-2.0
"""What of a workload's configurations is as the agent left it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from amphora.core.drift.file_baseline import FileBaseline
from amphora.core.workloads.workload import Workload
from amphora.system import files

AnyWorkload = Workload[Any, Any]


class Configurations:
    """Compares the files of workloads with what the agent has written itself."""

    def __init__(self, baseline: FileBaseline) -> None:
        self.baseline = baseline

    def is_modified(self, workload: AnyWorkload, path: Path) -> bool:
        """Whether a file of a workload is not as the agent left it."""
        return self.baseline.modified_externally(workload.id, path)

    def good(self, workload: AnyWorkload) -> bytes | None:
        """Return the configuration that was proven last, or None.

        The proven file may be a second name of the stored one, so that an editor changes both; what the
        service was started from is a file of its own by then.
        """
        own = workload.files
        if not self.is_modified(workload, own.proven):
            return files.read_if_present(own.proven)
        return None if self.is_modified(workload, own.running) else files.read_if_present(own.running)

    def is_pending(self, workload: AnyWorkload) -> bool:
        """Whether a start or reload would load another configuration than the one that was proven."""
        good = self.good(workload)
        if good is None or not workload.are_same(good, workload.stored_configuration()):
            return True
        return self.is_modified(workload, workload.files.stored)
