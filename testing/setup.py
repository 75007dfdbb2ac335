# SPDX-License-Identifier: Apache-2.0
"""Build script: what follows from the version of the agent, which is the one of the repository."""

import setuptools
from pbr.packaging import get_version

version = get_version("amphora-agent-testing")
setuptools.setup(
    version=version,
    license="Apache-2.0",
    install_requires=[f"amphora-agent=={version}", "pytest>=8.0"],
)
