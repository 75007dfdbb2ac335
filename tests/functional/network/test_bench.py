# SPDX-License-Identifier: Apache-2.0
"""The rig of the network drivers' contract suite."""

import threading


def test_a_picture_waits_for_what_follows_from_the_peer(bench):
    bench.plug()
    name = bench.links(bench.root)[0]["ifname"]
    bench.ip("-n", bench.wire, "link", "set", bench.peer_of(), "down")
    bench.ip("-n", bench.root, "link", "set", name, "up")
    timer = threading.Timer(0.3, bench.ip, ("-n", bench.wire, "link", "set", bench.peer_of(), "up"))
    timer.start()
    try:
        (link,) = [each for each in bench.picture()[f"{bench.root}: -d addr"] if each["ifname"] == name]
    finally:
        timer.join()
    assert "NO-CARRIER" not in link["flags"]
    assert link["operstate"] == "UP"
    assert [each["scope"] for each in link["addr_info"]] == ["link"]
    assert bench.picture() == bench.picture()
