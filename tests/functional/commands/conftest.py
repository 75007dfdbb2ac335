# SPDX-License-Identifier: Apache-2.0
"""The small commands as processes of their own, over namespaces that stand for an amphora."""

import os
import subprocess
import sys

import pytest

from amphora.testing.network_bench import KernelBench


class CommandBench(KernelBench):
    """Runs commands in the namespace that stands for the amphora's first one.

    :ivar directory: of all state.
    """

    def prepare(self, directory, topology="SINGLE"):
        self.directory = directory
        self.interfaces = directory / "interfaces"
        self.interfaces.mkdir()
        self.config = directory / "amphora-agent.conf"
        self.config.write_text(
            f"[haproxy_amphora]\nbase_path = {directory / 'lb'}\n"
            f"[amphora_agent]\nagent_server_network_dir = {self.interfaces}\n"
            f"[network]\nnamespace = {self.data}\n[drivers]\nnetwork = pyroute2\n"
            f"[controller_worker]\nloadbalancer_topology = {topology}\n"
        )

    def run(self, module, *arguments, namespace=None, through=()):
        """Run the command of a module, by another command if need be; return its status and output."""
        # Not "ip netns exec" for the first namespace: what is mounted within that stays within.
        place = (
            ["ip", "netns", "exec", namespace] if namespace else ["nsenter", f"--net=/run/netns/{self.root}"]
        )
        options = () if module == "lvs_masquerade" else ("--config-file", str(self.config))
        done = subprocess.run(
            [*place, *through, sys.executable, "-m", f"amphora.cmd.{module}", *options, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stdout

    def inside(self, *words):
        """Run a command in the data namespace; it must succeed."""
        return self.runner.run(words, timeout=20, namespace=self.data).output

    def addresses(self, name):
        found = [link for link in self.links(self.data) if link["ifname"] == name]
        return {
            f"{each['local']}/{each['prefixlen']}"
            for link in found
            for each in link["addr_info"]
            if each["scope"] != "link"
        }


@pytest.fixture
def bench(memory_dir):
    bench = CommandBench(f"cmd{os.getpid()}")
    try:
        bench.open()
        bench.prepare(memory_dir)
        yield bench
    finally:
        bench.close()
