# SPDX-License-Identifier: Apache-2.0
"""Asks the rpm database in argv[1] many times; argv[2] gets a byte for each process that takes."""

import os
import sys
from pathlib import Path

from amphora.drivers.package_manager.rpm import RpmPackageManager
from amphora.system.command import CommandRunner
from tests.support.forks_counted import count_into

if __name__ == "__main__":
    sys.addaudithook(count_into(os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND)))
    manager = RpmPackageManager(CommandRunner(), [Path(sys.argv[1])])
    manager.check_available()
    for _ in range(200):
        manager.installed_versions(["amphora-lab-one", "amphora-lab-two"])
