# SPDX-License-Identifier: Apache-2.0
import logging

import pytest

from amphora.server.limited_log import LimitedLog


def test_flood_is_cut_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    log = LimitedLog(logging.getLogger("test"), lines=2, seconds=10.0, clock=lambda: now)
    for number in range(5):
        log.write(logging.WARNING, f"message {number}")
    now = 10.0
    log.write(logging.WARNING, "later")
    log.write(logging.WARNING, "last")

    assert caplog.messages == [
        "message 0",
        "message 1",
        "later (3 similar messages were left out)",
        "last",
    ]


def test_text_of_strangers_is_no_format_string(caplog: pytest.LogCaptureFixture) -> None:
    LimitedLog(logging.getLogger("test")).write(logging.WARNING, "100%s of it")

    assert caplog.messages == ["100%s of it"]
