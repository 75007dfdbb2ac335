# SPDX-License-Identifier: Apache-2.0
"""amphora-agent: the REST agent inside an OpenStack Octavia load-balancer VM."""
