# SPDX-License-Identifier: Apache-2.0
"""Fetches, in a tree and with its network, what tests there would fetch while they run.

Arguments are the packages that machines take from where the tree has them, rather than from their suite.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from tests.support import image_elements
from tests.support.inits import all_inits, command
from tests.support.nspawn import base_tree, lab_directory

_APT = Path("/etc/apt")


def main(newer: list[str]) -> None:
    """Build what booted machines stand on, and the layers of images."""
    lab = lab_directory()
    for base in sorted({base_tree(lab, init) for init in all_inits()}):
        for source in [path for path in _APT.rglob("*") if path.is_file() and path.suffix != ".gpg"]:
            target = base / source.relative_to("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
        if newer and not (base / "etc/newer").exists():
            command("chroot", str(base), "apt-get", "update", "-qq")
            command("chroot", str(base), "apt-get", "install", "-y", "-qq", "--only-upgrade", *newer)
            (base / "etc/newer").write_text(" ".join(newer), encoding="ascii")
    image_elements.packages_layer(lab)
    image_elements.wheelhouse(lab, f"{sys.version_info[0]}.{sys.version_info[1]}")


if __name__ == "__main__":
    main(sys.argv[1:])
