# SPDX-License-Identifier: Apache-2.0
"""The script that asks whether a UDP member is there; configurations of controllers name its path."""

from __future__ import annotations

#: For bash(1), whose ``/dev/udp`` needs no further program in the image. A silent member counts as there,
#: since few protocols answer a datagram that makes no sense to them.
UDP_CHECK = b"""\
#!/bin/bash
# Written by amphora-agent. udp_check.sh ADDRESS PORT: fails if the member's system refuses datagrams there.
exec 3<>"/dev/udp/$1/$2" || exit 1
for _ in 1 2; do
    printf X >&3 || exit 1
    # Reading is silent unless the kernel reports an error: neither an answer nor none is one.
    complaint=$(read -r -t 0.5 -n 1 -u 3 2>&1)
    [ -z "$complaint" ] || exit 1
done
exit 0
"""
