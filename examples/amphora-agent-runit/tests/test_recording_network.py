# SPDX-License-Identifier: Apache-2.0
"""What was asked of the recording driver can be read from its record."""

from __future__ import annotations

import json

import pytest
from amphora.errors import NoSuchLink
from amphora.models import InterfaceConfig

from amphora_runit.recording_network import RecordingNetwork

CONFIG = InterfaceConfig("eth1", "02:a6:00:00:00:01")


def record(driver):
    lines = [json.loads(line) for line in driver.record.read_text().splitlines()]
    return [(line["action"], line["interface"]) for line in lines]


def test_writes_a_line_for_each_thing_it_was_asked(tmp_path):
    driver = RecordingNetwork(tmp_path / "network")
    driver.persist(CONFIG)
    driver.deactivate("eth1")
    driver.forget("eth1")
    assert record(driver) == [("persist", "eth1"), ("deactivate", "eth1"), ("forget", "eth1")]


def test_a_new_driver_goes_on_with_the_record(tmp_path):
    RecordingNetwork(tmp_path).persist(CONFIG)
    driver = RecordingNetwork(tmp_path)
    driver.forget("eth1")
    assert record(driver) == [("persist", "eth1"), ("forget", "eth1")]


def test_what_failed_is_not_recorded(tmp_path):
    driver = RecordingNetwork(tmp_path, patience=0)
    with pytest.raises(NoSuchLink):
        driver.activate(CONFIG)
    assert not driver.record.exists()
