# SPDX-License-Identifier: Apache-2.0
"""A controller that asks an amphora which API it has."""

import process

if __name__ == "__main__":
    process.serve()
