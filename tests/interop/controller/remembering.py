# SPDX-License-Identifier: Apache-2.0
"""A controller that has known an amphora since it had API 0.5 only."""

import process

if __name__ == "__main__":
    process.serve(api_version="0.5")
