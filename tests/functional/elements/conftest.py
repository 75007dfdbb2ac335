# SPDX-License-Identifier: Apache-2.0
"""An image tree: the elements' scripts run over a real distribution, twice."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.image_elements import (
    Build,
    Tree,
    layers,
    repository_of_working_tree,
    wheelhouse,
)
from tests.support.nspawn import lab_directory


@dataclass(frozen=True)
class Image:
    """:ivar first: what every file was after the first run of the scripts, as in ``state_of``."""

    tree: Tree
    first: dict
    second: dict


def state_of(tree):
    """Return mode and content of every path the scripts made, but for what holds times by nature."""
    found = {}
    for path in sorted(tree.upper.rglob("*")):
        name = str(path.relative_to(tree.upper))
        # diskimage-builder's own lists grow with each run; /tmp is its working space.
        if "__pycache__" in name or name.startswith(("tmp", "etc/dib-", "var/cache/ldconfig")):
            continue
        content = path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else None
        found[name] = (path.lstat().st_mode, content)
    return found


@pytest.fixture(scope="session")
def directory():
    """Where images are made: where overlays are known to work."""
    lab = lab_directory()
    lab.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="image-", dir=lab))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def sources(directory):
    """The variables by which a build finds the agent's source and the wheels for the tree's Python."""
    lab = lab_directory()
    version = "import sys; print('%d.%d' % sys.version_info[:2])"
    python = Tree(directory / "probe", layers(lab)).run("python3", "-c", version).strip()
    return {
        "DIB_AMPHORA_AGENT_SOURCE": str(repository_of_working_tree(directory / "source")),
        "DIB_AMPHORA_AGENT_WHEELS": str(wheelhouse(lab, python)),
    }


@pytest.fixture(scope="session")
def image(directory, sources):
    build = Build(lab_directory(), directory, sources)
    build.run()
    first = state_of(build.tree)
    build.run()
    return Image(build.tree, first, state_of(build.tree))
