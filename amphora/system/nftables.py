# SPDX-License-Identifier: Apache-2.0
"""Packet filter and address translation rules of the kernel, by the nft(8) command.

A file is one transaction: either all of it takes effect, or nothing does.
"""

from __future__ import annotations

from pathlib import Path

from amphora.errors import OperationFailed
from amphora.system.command import CommandRunner
from amphora.system.nftables_table import table_content

_TIMEOUT = 10.0


class Nftables:
    """Loads rules in one network namespace.

    :param namespace: empty means that of the agent's process.
    """

    def __init__(self, runner: CommandRunner, namespace: str) -> None:
        self._runner = runner
        self._namespace = namespace

    def check(self, path: Path) -> None:
        """Return if the kernel would take a file as it is now. Changes nothing.

        :raises OperationFailed: with nft's own words.
        """
        self._read(path, "-c")

    def load(self, path: Path) -> None:
        """Put the rules of a file into effect. Safe to repeat for files that replace what they define.

        :raises OperationFailed: with nft's own words; nothing was changed.
        """
        self._read(path)

    def apply(self, text: str) -> None:
        """Put a short text of commands into effect, as one transaction.

        :raises OperationFailed: with nft's own words; nothing was changed.
        """
        self._run(text)

    def content(self, family: str, table: str) -> bytes | None:
        """Return what a table does, in the kernel's words and its comments, or None if there is none.

        The same for all that do the same. Never forks.

        :raises OperationFailed: the kernel gave no usable answer.
        """
        return table_content(self._namespace, family, table)

    def _read(self, path: Path, *options: str) -> None:
        try:
            # Merges many rules into few look-ups.
            self._run(*options, "-o", "-f", str(path))
        except OperationFailed:
            # nft 1.0 merges some valid rules into what it refuses itself, and older ones know no -o.
            self._run(*options, "-f", str(path))

    def _run(self, *arguments: str) -> None:
        result = self._runner.run(("nft", *arguments), timeout=_TIMEOUT, namespace=self._namespace)
        if not result.succeeded:
            raise OperationFailed(f"nft refused the rules: {result.output.strip()}")
