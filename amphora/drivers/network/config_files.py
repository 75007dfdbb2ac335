# SPDX-License-Identifier: Apache-2.0
"""Stored interface configurations: one file for each interface in one directory."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path

from amphora.errors import StorageError
from amphora.models import InterfaceConfig
from amphora.system import files

LOG = logging.getLogger(__name__)

#: Names of links (dev_valid_name in the kernel), narrowed to what is safe in file names and sysctls.
_NAME = re.compile(r"[A-Za-z0-9_-]{1,15}")


class ConfigFiles:
    """Reads and writes the files; what is in them is the driver's.

    :param suffix: of the file names, with its dot.
    :param is_other: whether a file belongs to another program, though it is named like one of the driver's.
    """

    def __init__(
        self,
        directory: Path,
        suffix: str,
        render: Callable[[InterfaceConfig], str],
        parse: Callable[[bytes], InterfaceConfig],
        is_other: Callable[[bytes], bool] = lambda _data: False,
    ) -> None:
        self._directory = directory
        self._suffix = suffix
        self._render = render
        self._parse = parse
        self._is_other = is_other

    def path(self, name: str) -> Path:
        """Return where the file of an interface is or would be.

        :raises StorageError: no interface can have this name.
        """
        if not _NAME.fullmatch(name):
            raise StorageError(f"{name!r} is not a valid interface name")
        return self._directory / f"{name}{self._suffix}"

    def write(self, config: InterfaceConfig) -> None:
        """Store a configuration in place of a former one of this name."""
        path = self.path(config.name)
        files.ensure_directory(self._directory)
        files.write_atomically(path, self._render(config).encode(), 0o644)

    def remove(self, name: str) -> None:
        """Forget the configuration of an interface; safe to repeat."""
        files.remove(self.path(name))

    def read_all(self) -> list[InterfaceConfig]:
        """Return every stored configuration that can be read, by name; others are logged."""
        found = []
        for filename in files.file_names(self._directory):
            if filename.endswith(self._suffix) and not filename.startswith("."):
                config = self._read(self._directory / filename)
                found += [config] if config else []
        return found

    def _read(self, path: Path) -> InterfaceConfig | None:
        data = files.read_if_present(path) or b""
        if self._is_other(data):
            return None
        try:
            config = self._parse(data)
        except StorageError as error:
            LOG.error("%s skipped: %s", path, error.details)
            return None
        if config.name != path.name.removesuffix(self._suffix):
            LOG.error("%s skipped: it is for %s", path, config.name)
            return None
        return config
