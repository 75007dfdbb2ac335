# SPDX-License-Identifier: Apache-2.0
"""What the elements' scripts make of a tree."""

import time
from pathlib import Path

import pytest

from amphora.testing.agent_client import AMPHORA_ID
from amphora.testing.pki import Pki
from tests.support.image_elements import Build, packages_layer
from tests.support.inits import init_named
from tests.support.nspawn import Machine, lab_directory

UNITS = "/etc/systemd/system"
CERTS_MOUNT = f"{UNITS}/var-lib-octavia-certs.mount"


@pytest.fixture(scope="module")
def machine(image):
    """The image on its first boot, when systemd sets every unit to its preset."""
    image.tree.run("sh", "-c", "echo uninitialized > /etc/machine-id")
    configure_as_cloud_init_does(image.tree.upper / "etc/octavia")
    layers = ":".join(str(layer) for layer in (image.tree.upper, *image.tree.layers))
    machine = Machine(Path(layers), image.tree.root.parents[1].name.replace("_", "-"), init_named("systemd"))
    try:
        machine.boot([])
        yield machine
    finally:
        machine.destroy()


def configure_as_cloud_init_does(directory):
    pki = Pki(directory / "certs")
    pki.server("127.0.0.1")
    pki.ca_path.rename(directory / "certs/client_ca.pem")
    (directory / "amphora-agent.conf").write_text(f"[amphora_agent]\namphora_id = {AMPHORA_ID}\n")


def test_the_agent_runs_from_its_own_environment(image):
    installed = "import importlib.metadata; print(importlib.metadata.version('amphora-agent'))"
    python = "/opt/amphora-agent-venv/bin/python"
    assert image.tree.run("amphora-agent", "--version") == image.tree.run(python, "-c", installed)
    program = image.tree.run("readlink", "-f", "/usr/bin/amphora-agent").strip()
    assert program == "/opt/amphora-agent-venv/bin/amphora-agent"
    where = "import amphora; print(amphora.__file__)"
    assert image.tree.run(python, "-c", where).startswith("/opt/amphora-agent-venv/lib/")


def test_the_distributions_python_is_left_as_it_was(image):
    made = {name for name in image.second if name.startswith("usr/")}
    assert {name for name in made if "python" in name} == set()


def test_the_agents_service_is_installed_and_enabled(image):
    assert image.tree.run("systemctl", "is-enabled", "amphora-agent.service").strip() == "enabled"
    for path in ("/etc/logrotate.d/amphora-agent", "/etc/tmpfiles.d/amphora-agent.conf"):
        assert image.tree.run("stat", "-c", "%a %U", path).strip() == "644 root"
    image.tree.run("logrotate", "--debug", "/etc/logrotate.d/amphora-agent")


def test_units_are_valid(image):
    units = (CERTS_MOUNT, f"{UNITS}/amphora-agent.service", f"{UNITS}/amphora-netns.service")
    assert image.tree.run("systemd-analyze", "verify", *units).strip() == ""
    assert image.tree.run("systemctl", "is-enabled", "amphora-netns.service").strip() == "enabled"


def test_commands_are_where_configurations_name_them(image):
    for name in (
        "amphora-interface",
        "amphora-netns",
        "amphora-health-checker",
        "haproxy-vrrp-check",
        "prometheus-proxy",
        "lvs-masquerade.sh",
        "udp-masquerade.sh",
    ):
        program = image.tree.run("readlink", "-f", f"/usr/local/bin/{name}").strip()
        assert program == f"/opt/amphora-agent-venv/bin/{name.removesuffix('.sh').replace('udp-m', 'lvs-m')}"
        assert image.tree.run("test", "-x", program) == ""


def test_services_of_the_distribution_are_disabled(image):
    before = packages_layer(lab_directory()) / "etc/systemd/system/multi-user.target.wants"
    for name in ("haproxy", "keepalived"):
        assert (before / f"{name}.service").is_symlink(), "nothing to disable: the test could not fail"
        shown = image.tree.run("sh", "-c", f"systemctl is-enabled {name}.service || true")
        assert shown.strip() == "disabled"


def test_directories_of_secrets_are_for_root_only(image):
    for path in ("/etc/octavia/certs", "/var/lib/octavia/certs"):
        assert image.tree.run("stat", "-c", "%a %U:%G", path).strip() == "700 root:root"


def test_the_source_is_not_left_in_the_image(image):
    image.tree.run("test", "!", "-e", "/opt/amphora-agent-source")


def test_a_second_run_changes_nothing(image):
    assert len(image.first) > 1000
    differing = [
        name for name in image.first | image.second if image.first.get(name) != image.second.get(name)
    ]
    assert differing == []


def test_a_booted_image_keeps_keys_in_memory(machine):
    shown = machine.run("findmnt", "-n", "-o", "FSTYPE,OPTIONS", "/var/lib/octavia/certs").stdout
    assert shown.split()[0] == "tmpfs"
    assert {"nosuid", "nodev", "noexec", "size=65536k", "mode=700"} <= set(shown.split()[1].split(","))


def test_a_booted_image_leaves_haproxy_to_the_agent(machine):
    for name in ("haproxy", "keepalived"):
        assert machine.run("systemctl", "is-active", name).stdout.strip() == "inactive"
        assert machine.run("systemctl", "is-enabled", name).stdout.strip() == "disabled"


def test_a_booted_image_serves_by_its_agent(machine):
    assert machine.run("systemctl", "is-enabled", "amphora-agent").stdout.strip() == "enabled"
    # Ready is what the agent says once it serves, so a boot that is complete has it running.
    deadline = time.monotonic() + 60
    while machine.run("systemctl", "is-active", "amphora-agent").stdout.strip() != "active":
        assert time.monotonic() < deadline, machine.run("journalctl", "-b", "-u", "amphora-agent").stdout
        time.sleep(0.2)
    pid = machine.run("systemctl", "show", "-P", "MainPID", "amphora-agent").stdout.strip()
    program = machine.run("cat", f"/proc/{pid}/cmdline").stdout.split("\0")
    assert program[0] == "/opt/amphora-agent-venv/bin/python3"
    assert program[-2:] == ["/etc/octavia/amphora-agent.conf", ""]


def test_a_build_without_a_source_says_what_is_missing(directory):
    with pytest.raises(AssertionError, match="DIB_AMPHORA_AGENT_SOURCE must name the git repository"):
        Build(lab_directory(), directory / "without-source", {}).run()


def test_a_build_obeys_constraints(directory, sources):
    constraints = directory / "constraints.txt"
    constraints.write_text("pecan<0.1\n")
    options = sources | {"DIB_AMPHORA_AGENT_CONSTRAINTS": str(constraints)}
    with pytest.raises(AssertionError, match="pecan<0.1"):
        Build(lab_directory(), directory / "constrained", options).run()
