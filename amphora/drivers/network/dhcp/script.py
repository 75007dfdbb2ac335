# SPDX-License-Identifier: Apache-2.0
"""The script by which dhclient and udhcpc put a lease on an interface, in place of their own.

A DHCP server of a tenant's network can name routers, name servers, a host name and more, asked or not, and
the clients' own scripts write them into the VM's ``/etc``. This one knows the address, the MTU and classless
static routes (RFC 3442), and no default route: that is the controller's to give.
"""

from __future__ import annotations

#: Second line of every script written here; one without it belongs to another program.
MARK = "# Written by amphora-agent, which overwrites changes."

#: In the environment of a client: the interface's MTU is configured, so the lease's does not count.
KEEPS_MTU = "AMPHORA_KEEPS_MTU"

# Both call it with everything in the environment: dhclient-script(8), and for udhcpc busybox's
# networking/udhcp. Routes get a metric, so that they come after those of the configuration. An address that
# would never expire is given 63 years, since the agent takes permanent ones for its own.
DHCP_SCRIPT = f"""#!/bin/sh
{MARK}
longest=2000000000

decoded_routes() {{
    # As option 121 holds them: prefix length, the octets of the prefix that count, four of the gateway.
    while [ $# -ge 5 ]; do
        length=$1 network= octets=0
        shift
        while [ $octets -lt 4 ]; do
            if [ $((octets * 8)) -lt "$length" ]; then
                network="$network.$1"
                shift
            else
                network="$network.0"
            fi
            octets=$((octets + 1))
        done
        [ $# -ge 4 ] || return
        echo "${{network#.}}/$length $1.$2.$3.$4"
        shift 4
    done
}}

routes() {{
    if [ -n "$new_rfc3442_classless_static_routes" ]; then
        decoded_routes $new_rfc3442_classless_static_routes
    else
        printf '%s %s\\n' $staticroutes
    fi | grep -v '^0\\.0\\.0\\.0/0 '
}}

take_lease() {{
    address=$1 seconds=$2
    [ "$seconds" -lt $longest ] 2>/dev/null || seconds=$longest
    ip -4 address replace "$address" brd + dev "$interface" valid_lft "$seconds" preferred_lft "$seconds"
    if [ -z "${KEEPS_MTU}" ] && [ "${{3:-0}}" -ge 576 ]; then
        ip link set dev "$interface" mtu "$3"
    fi
    wanted=$(routes)
    echo "$wanted" | while read -r destination gateway; do
        [ -z "$gateway" ] && continue
        [ "$gateway" = 0.0.0.0 ] && via="scope link" || via="via $gateway"
        ip -4 route replace "$destination" $via dev "$interface" proto dhcp metric 1024
    done
    ip -4 route show dev "$interface" proto dhcp | while read -r destination _; do
        case $destination in */*) ;; *) destination=$destination/32 ;; esac
        echo "$wanted" | grep -qF "$destination " && continue
        ip -4 route del "$destination" dev "$interface" proto dhcp
    done
}}

drop_lease() {{
    ip -4 route flush dev "$interface" proto dhcp
    ip -4 address flush dev "$interface" dynamic
}}

case ${{reason:-$1}} in
bound | renew)
    take_lease "$ip/${{mask:-32}}" "$lease" "$mtu"
    ;;
BOUND | RENEW | REBIND | REBOOT)
    if [ -n "$old_ip_address" ] && [ "$old_ip_address" != "$new_ip_address" ]; then
        drop_lease
    fi
    take_lease "$new_ip_address/${{new_subnet_mask:-32}}" "$new_dhcp_lease_time" "$new_interface_mtu"
    ;;
deconfig | EXPIRE | FAIL | RELEASE | STOP)
    drop_lease
    ;;
TIMEOUT)
    # No server has answered: an old lease is no evidence that the address is still ours.
    exit 1
    ;;
esac
exit 0
"""
