# SPDX-License-Identifier: Apache-2.0
"""Small distributions as pip leaves them, in a directory that is or will be on the module path."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def install_distribution(
    directory: Path, name: str, version: str, namespace: str, entry_points: Mapping[str, str]
) -> Path:
    """Write the metadata of a distribution that offers entry points, over a former version of it.

    :param entry_points: name to ``module:object``.
    :return: the file of entry points.
    """
    for former in directory.glob(f"{name.replace('-', '_')}-*.dist-info"):
        for path in former.iterdir():
            path.unlink()
        former.rmdir()
    info = directory / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = [f"[{namespace}]", *(f"{point} = {target}" for point, target in entry_points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return info / "entry_points.txt"


def pretend_unchanged(path: Path, entry_points: Path) -> None:
    """Set the times by which stevedore recognises a change, as two installs within a minute leave them."""
    for changed in (path, entry_points):
        os.utime(changed, (1_700_000_000, 1_700_000_000))
