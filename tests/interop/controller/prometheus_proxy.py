# SPDX-License-Identifier: Apache-2.0
"""The program that Octavia's images run for PROMETHEUS listeners, in a namespace of another name."""

import sys

from octavia.common import constants

if __name__ == "__main__":
    constants.AMPHORA_NAMESPACE = sys.argv[1]
    from octavia.cmd import prometheus_proxy

    prometheus_proxy.main()
