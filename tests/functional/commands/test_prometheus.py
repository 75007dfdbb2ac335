# SPDX-License-Identifier: Apache-2.0
"""A PROMETHEUS listener of a real haproxy, as a controller configures it, in a namespace."""

import signal
import subprocess
import sys
import urllib.request

import pytest

from amphora.system.namespaces import call_inside
from amphora.testing.network_bench import wait_until
from tests.support.load_balancers import (
    LISTENER,
    METRICS_LISTENER,
    backend,
    frontend,
    global_section,
    internal_metrics,
)


@pytest.fixture
def running():
    """A function that runs a command until the end of the test."""
    processes = []

    def run(*argv):
        processes.append(subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        return processes[-1]

    yield run
    for process in processes:
        process.kill()
        process.wait(10)


def configuration(directory):
    text = global_section(directory) + internal_metrics()
    text += frontend(LISTENER, ["127.0.0.1:8080"]) + backend(LISTENER, 9)
    text += frontend(METRICS_LISTENER, ["127.0.0.1:8088"]).split("    default_backend")[0]
    text += "    default_backend prometheus-exporter-internal\n    timeout client 50000\n"
    lines = [
        line for line in text.splitlines() if not line.strip().startswith(("log /", "server-state", "load-"))
    ]
    path = directory / "haproxy.cfg"
    path.write_text("\n".join(lines).replace("    daemon\n", "") + "\n")
    return str(path)


def ask(namespace):
    def get():
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open("http://127.0.0.1:8088/metrics", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            error.close()
            return error.code, ""
        except OSError:
            return 0, ""

    return call_inside(namespace, get)


def test_metrics_through_a_listener(bench, memory_dir, running):
    proxy = running(sys.executable, "-m", "amphora.cmd.prometheus_proxy", "--namespace", bench.data)
    running("ip", "netns", "exec", bench.data, "haproxy", "-f", configuration(memory_dir))
    wait_until(lambda: ask(bench.data)[0] == 200, "metrics are served", 30)
    status, text = ask(bench.data)
    samples = [line for line in text.splitlines() if not line.startswith("#")]
    assert status == 200
    assert any(line.startswith(f'octavia_listener_status{{listener="{LISTENER}"') for line in samples)
    assert any(line.startswith("octavia_member_weight{pool=") for line in samples)
    assert any(line.startswith("octavia_loadbalancer_cpu ") for line in samples)
    assert not [line for line in samples if "prometheus-exporter" in line or "haproxy" in line]
    proxy.send_signal(signal.SIGTERM)
    assert proxy.wait(10) == 0


def test_without_haproxy_it_is_a_bad_gateway(bench, running):
    running(sys.executable, "-m", "amphora.cmd.prometheus_proxy", "--namespace", bench.data, "--port", "8088")
    wait_until(lambda: ask(bench.data)[0] == 502, "it says that there are no metrics", 30)


def test_a_namespace_that_comes_later(bench, running):
    name = f"{bench.prefix}-later"
    running(sys.executable, "-m", "amphora.cmd.prometheus_proxy", "--namespace", name, "--port", "8088")
    try:
        bench.ip("netns", "add", name)
        bench.ip("-n", name, "link", "set", "lo", "up")
        wait_until(lambda: ask(name)[0] == 502, "it serves in the namespace", 30)
    finally:
        bench.ip("netns", "del", name)


@pytest.mark.parametrize("words", [["--port"], ["--port", "x"], ["--other", "1"]])
def test_misuse(words):
    done = subprocess.run(
        [sys.executable, "-m", "amphora.cmd.prometheus_proxy", *words], capture_output=True, timeout=30
    )
    assert done.returncode == 1
