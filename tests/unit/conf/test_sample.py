# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

from oslo_config import generator

ROOT = Path(__file__).parents[3]


def test_the_sample_configuration_is_current(tmp_path):
    output = tmp_path / "sample.conf"
    generator.main(["--config-file", str(ROOT / "etc/config-generator.conf"), "--output-file", str(output)])
    assert output.read_text() == (ROOT / "etc/amphora-agent.conf").read_text(), "run: tox -e genconfig"
