# SPDX-License-Identifier: Apache-2.0
"""The demonstration that ``./run-demo`` starts: every part of it is real, none needs root."""

from __future__ import annotations

import argparse
import signal
import sys
from collections import Counter

from demo.stage import LISTENER, Stage

REQUESTS = 20


def say(text: str) -> None:
    """Show progress at once, also where output is a pipe."""
    print(f"== {text}", flush=True)


def main() -> int:
    """Return 0 only if every request was answered and every member got its share."""
    parser = argparse.ArgumentParser(prog="run-demo", description=__doc__)
    parser.add_argument("--once", action="store_true", help="clean up and exit when the requests are done")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with Stage() as stage:
        counts = act(stage)
        show(counts, stage)
        fair_share = REQUESTS // len(stage.members)
        balanced = all(counts[member.name] >= fair_share // 2 for member in stage.members)
        if arguments.once:
            say("Traffic was balanced" if balanced else "Traffic was NOT balanced")
        else:
            invite(stage)
            wait_for_interrupt()
        say("Cleaning up")
    return 0 if balanced else 1


def act(stage: Stage) -> Counter[str]:
    """Go the way a controller goes, and return how many requests each member answered."""
    say(f"Made a throw-away PKI in {stage.directory}")
    for member in stage.members:
        say(f"Member {member.name} serves on 127.0.0.1:{member.port}")
    seconds = stage.start_agent()
    info = stage.call("GET", "/info")
    say(f"The agent serves on 127.0.0.1:{stage.agent.port} by mutual TLS after {seconds:.1f} s")
    say(f"It found haproxy {info['haproxy_version']}")
    stage.upload()
    say("Uploaded a listener; haproxy has checked it")
    answer = stage.call("PUT", f"/v0.1/listeners/{LISTENER}/start")
    say(answer["details"].splitlines()[-1])
    say(f"Sending {REQUESTS} requests to 127.0.0.1:{stage.listener_port}")
    return Counter(stage.request() for _ in range(REQUESTS))


def show(counts: Counter[str], stage: Stage) -> None:
    """Print what went where."""
    print(f"\n   {'member':<10}{'address':<20}{'requests':>8}")
    for member in stage.members:
        print(f"   {member.name:<10}{f'127.0.0.1:{member.port}':<20}{counts[member.name]:>8}")
    print(flush=True)


def invite(stage: Stage) -> None:
    """Print commands to go on with."""
    pki = f"--cacert {stage.agent.pki.ca_path} --cert {stage.agent.client.path}"
    agent = f"https://127.0.0.1:{stage.agent.port}"
    print("   Go on with:")
    print(f"   curl http://127.0.0.1:{stage.listener_port}/")
    print(f"   curl {pki} {agent}/v0.1/listeners/{LISTENER}")
    print(f"   curl {pki} {agent}/v0.1/listeners/{LISTENER}/haproxy")
    print(f"   curl {pki} -X PUT {agent}/v0.1/listeners/{LISTENER}/reload")
    print(f"   curl {pki} -X DELETE {agent}/v0.1/listeners/{LISTENER}\n")
    print("   Ctrl-C cleans everything up.", flush=True)


def wait_for_interrupt() -> None:
    """Return when the user has seen enough."""
    try:
        signal.pause()
    except KeyboardInterrupt:
        print()


if __name__ == "__main__":
    sys.exit(main())
