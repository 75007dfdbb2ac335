# SPDX-License-Identifier: Apache-2.0
"""Log lines about conditions that last: once when they begin, once when they end."""

from __future__ import annotations

import logging
from collections.abc import Mapping


class Notices:
    """Conditions that were logged, so that none is logged twice."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._said: dict[str, str] = {}

    def say(self, about: str, sentence: str, level: int = logging.WARNING) -> None:
        """Log a sentence, unless it is the last one that was logged about the same."""
        if self._said.get(about) != sentence:
            self._said[about] = sentence
            self._logger.log(level, "%s: %s", about, sentence)

    def resolve(self, about: str) -> None:
        """Log that something has recovered, if it was logged before."""
        if self._said.pop(about, None) is not None:
            self._logger.info("%s: recovered", about)

    def replace(self, prefix: str, sentences: Mapping[str, str]) -> None:
        """Say these, and resolve all others that begin with the prefix."""
        wrong = {f"{prefix}{about}": sentence for about, sentence in sentences.items()}
        for about in [said for said in self._said if said.startswith(prefix) and said not in wrong]:
            self.resolve(about)
        for about, sentence in wrong.items():
            self.say(about, sentence)
