# SPDX-License-Identifier: Apache-2.0
"""The group that haproxy's workers run with."""

from __future__ import annotations

import logging
from pathlib import Path

from amphora.errors import InvalidConfiguration
from amphora.haproxy.reading.unsuitable_lines import group_named_in, without_group
from amphora.system import files, host

LOG = logging.getLogger(__name__)


class WorkerGroup:
    """Decides for a group, and lets configurations that name another one run all the same.

    Images name in a file, itself a ``global`` section, the group that their system has for this; controllers
    of earlier releases name in their configurations a group that not every system has.

    :param group_file: of the image; it need not exist, or None.
    :param default: where the image names none that exists; None where the group cannot be changed.
    """

    def __init__(self, group_file: Path | None, default: str | None) -> None:
        self._group_file = group_file
        self._default = default

    def name(self) -> str | None:
        """Return the group of configurations that name none."""
        return None if self._default is None else self._chosen_by_image() or self._default

    def adapt(self, data: bytes) -> bytes:
        """Return a configuration as it can run here: as it is, or without the group that it names.

        Only where the image has chosen another group, or there is no such group, is a line left out.

        :raises InvalidConfiguration: it is not UTF-8 or holds a NUL byte.
        """
        named, wanted = group_named_in(data), self.name()
        if not named or wanted is None or named == wanted:
            return data
        if host.group_exists(named) and not self._chosen_by_image():
            return data
        LOG.info("a configuration that names the group %s runs with %s", named, wanted)
        return without_group(data)

    def _chosen_by_image(self) -> str:
        try:
            data = files.read_if_present(self._group_file) if self._group_file else None
            named = group_named_in(data or b"")
        except InvalidConfiguration as error:
            LOG.warning("%s is passed over: %s", self._group_file, error)
            return ""
        return named if host.group_exists(named) else ""
