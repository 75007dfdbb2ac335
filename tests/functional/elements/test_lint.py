# SPDX-License-Identifier: Apache-2.0
"""What diskimage-builder's own checks and conventions say of the elements."""

import os
import re

import pytest
import yaml

from tests.support.image_elements import ELEMENTS, SCRIPTS, diskimage_builder, run
from tests.support.nspawn import REPOSITORY

SCRIPT_FILES = sorted(path for path in ELEMENTS.glob("*/*.d/*") if path.parent.name != "environment.d")
NAMES = sorted(path.name for path in ELEMENTS.iterdir())


def environment(**more):
    return {"PATH": f"{SCRIPTS}:{os.environ['PATH']}", "HOME": "/root", **more}


def test_dib_lint_finds_nothing():
    settings = environment(ELEMENTS_DIR=str(ELEMENTS), LIB_DIR=str(ELEMENTS))
    output = run(["env", "-C", str(REPOSITORY), "dib-lint"], settings)
    assert "PASS" in output
    assert all(str(script) in output for script in SCRIPT_FILES)


def documented_elements():
    page = (REPOSITORY / "doc/source/image.rst").read_text()
    command = re.search(r"disk-image-create -o \w+ -t qcow2 \\\n +(.*)\n", page)
    return command[1].split()


def test_dependencies_are_elements_that_exist():
    builder = diskimage_builder()
    settings = environment(ELEMENTS_PATH=f"{ELEMENTS}:{builder / 'elements'}")
    argv = [str(SCRIPTS / "python"), str(builder / "lib/element-info.py")]
    output = run([*argv, *documented_elements()], settings)
    assert set(NAMES) <= set(output.split())


@pytest.mark.parametrize("script", SCRIPT_FILES, ids=lambda path: path.name)
def test_scripts_stop_at_the_first_failure(script):
    text = script.read_text()
    assert text.startswith("#!/bin/bash\n# SPDX-License-Identifier: Apache-2.0\n")
    assert "\nset -eu\nset -o pipefail\n" in text
    assert script.stat().st_mode & 0o777 == 0o755
    assert re.fullmatch(r"[0-9]{2}-[a-z-]+", script.name), "diskimage-builder would leave it out"
    run(["bash", "-n", str(script)], environment())


@pytest.mark.parametrize("name", NAMES)
def test_an_element_says_what_it_is_and_what_it_takes(name):
    readme = (ELEMENTS / name / "README.rst").read_text()
    assert f"\n{name}\n{'=' * len(name)}\n" in readme
    for file in (ELEMENTS / name).glob("environment.d/*"):
        for variable in re.findall(r"^export (\w+)=", file.read_text(), re.MULTILINE):
            assert f"\n{variable}\n" in readme


@pytest.mark.parametrize(
    "file", sorted(ELEMENTS.glob("*/package-installs.yaml")), ids=lambda p: p.parent.name
)
def test_packages_are_named_for_package_installs(file):
    packages = yaml.safe_load(file.read_text())
    assert packages
    assert all(options is None or isinstance(options, dict) for options in packages.values())
    assert "package-installs" in (file.parent / "element-deps").read_text().split()
