# SPDX-License-Identifier: Apache-2.0
"""Build script; all metadata is in setup.cfg."""

import setuptools

setuptools.setup(setup_requires=["pbr"], pbr=True)
