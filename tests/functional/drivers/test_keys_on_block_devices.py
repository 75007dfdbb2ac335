# SPDX-License-Identifier: Apache-2.0
"""The agent over certificate directories on real block devices: those of memory serve, others do not."""

import contextlib
import hashlib
import sys
from pathlib import Path

import pytest

from amphora.testing.agent import AgentDied, AgentProcess, free_port
from tests.support.block_devices import loop_device, partition_of, ram_disk
from tests.support.listeners import configuration, listener_id

pytestmark = pytest.mark.skipif("os.geteuid() != 0", reason="mounts need root")

ONE = listener_id(1)


@contextlib.contextmanager
def agent_on(device, directory):
    """An agent in a mount namespace of its own, where this device is its certificate directory."""
    certificates = directory / "certs"
    certificates.mkdir()
    program = Path(sys.executable).with_name("amphora-agent")
    script = f'mount -t ext2 {device} {certificates} && exec {program} "$@"'
    agent = AgentProcess(directory, command=["unshare", "--mount", "sh", "-c", script, "sh"])
    try:
        yield agent
    finally:
        if agent.is_running():
            agent.clean_up()


def serves_and_stores(agent):
    """Start it and have it keep a certificate, which is seen in its own mount namespace only."""
    agent.start()
    assert agent.upload(ONE, configuration(ONE, [f"127.0.0.1:{free_port()}"], 80)).status == 201
    pem = agent.pki.server("www.example.org", file_name="tenant.pem", key="rsa").path.read_bytes()
    path = f"/v0.1/listeners/{ONE}/certificates/www.example.org.pem"
    assert agent.call("PUT", path, pem).status == 201
    assert agent.call("GET", path).json["md5sum"] == hashlib.md5(pem).hexdigest()
    assert list((agent.directory / "certs").iterdir()) == []
    seen = Path(f"/proc/{agent.pid}/root{agent.directory}/certs")
    assert sorted(each.name for each in seen.iterdir()) == [ONE, "lost+found"]


def test_a_ram_disk_keeps_certificates(memory_dir):
    with ram_disk(memory_dir) as device, agent_on(device, memory_dir) as agent:
        serves_and_stores(agent)


def test_so_does_a_partition_of_one(memory_dir):
    # A zram has no partitions.
    with (
        loop_device(memory_dir / "image") as device,
        partition_of(device) as partition,
        agent_on(partition, memory_dir) as agent,
    ):
        serves_and_stores(agent)


def test_so_does_a_loop_device_on_a_ram_disk(memory_dir):
    with (
        ram_disk(memory_dir) as below,
        loop_device(below) as device,
        agent_on(device, memory_dir) as agent,
    ):
        serves_and_stores(agent)


def test_a_loop_device_on_a_disk_is_refused(memory_dir, tmp_path):
    file = tmp_path / "image"
    with loop_device(file) as device, agent_on(device, memory_dir) as agent:
        with pytest.raises(AgentDied) as refused:
            agent.start()
        shown = str(refused.value)
        assert f"{memory_dir}/certs lies on ext2 on {device.name} on {file} on " in shown
        assert "or a file system on a RAM block device (ram, zram" in shown
        assert agent.wait() == 2
