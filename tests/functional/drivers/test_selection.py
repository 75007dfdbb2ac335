# SPDX-License-Identifier: Apache-2.0
"""Drivers of real (small) distributions, chosen by the configuration of a real agent process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.distributions import install_distribution, pretend_unchanged

AGENT = str(Path(sys.executable).with_name("amphora-agent"))
NAMESPACE = "amphora.process_manager"

MODULE = """
from amphora.drivers.process_manager.standalone import StandaloneProcessManager
from amphora.errors import DriverUnavailable

class Good(StandaloneProcessManager):
    pass

class Unavailable(StandaloneProcessManager):
    def check_available(self):
        raise DriverUnavailable("the shelf has no runit")
"""


class Site:
    """A directory of distributions, and agents that see it."""

    def __init__(self, directory, certificates):
        self.directory = directory
        self._certificates = certificates
        self._packages = directory / "packages"
        self._packages.mkdir()
        (self._packages / "acme_drivers.py").write_text(MODULE)

    def install(self, name, version="1.0", **entry_points):
        targets = {point: f"acme_drivers:{target}" for point, target in entry_points.items()}
        return install_distribution(self._packages, name, version, NAMESPACE, targets)

    def install_within_a_minute(self, **entry_points):
        """Install so that stevedore does not see the difference to the last time."""
        pretend_unchanged(self._packages, self.install("acme", **entry_points))

    def run(self, driver, *words, command=(AGENT,)):
        config = self.directory / "agent.conf"
        config.write_text(
            f"[drivers]\nprocess_manager = {driver}\n"
            f"[haproxy_amphora]\nbase_path = {self.directory}\nbase_cert_dir = {self._certificates}\n"
            f"[amphora_agent]\nagent_server_cert = {self.directory}/missing.pem\n"
        )
        return subprocess.run(
            [*command, *words, "--config-file", str(config)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=os.environ | {"PYTHONPATH": str(self._packages), "XDG_CACHE_HOME": str(self.directory)},
        )


@pytest.fixture
def site(short_dir, memory_dir):
    return Site(short_dir, memory_dir)


def assert_refused(done, sentence):
    """Nothing but one sentence, and the status of an agent that cannot start."""
    assert done.stderr == f"amphora-agent: process_manager driver {sentence}\n"
    assert (done.stdout, done.returncode) == ("", 2)


def test_missing_driver_is_refused_with_the_names_there_are(site):
    site.install("acme", runit="Good")
    available = "systemd, upstart, sysvinit, runit, standalone"
    assert_refused(
        site.run("runnit"),
        f"'runnit' cannot be loaded: no such driver is installed; available: {available}",
    )


def test_driver_that_fails_to_import_is_refused_with_the_cause(site):
    site.install("acme", runit="Missing")
    cause = "AttributeError: module 'acme_drivers' has no attribute 'Missing'"
    assert_refused(
        site.run("runit"), f"'runit' cannot be loaded: acme_drivers:Missing failed on import: {cause}"
    )


def test_driver_that_cannot_work_here_is_refused_with_its_reason(site):
    site.install("acme", runit="Unavailable")
    assert_refused(site.run("runit"), "'runit' cannot work on this machine: the shelf has no runit")


def test_name_that_two_distributions_offer_is_refused_with_both(site):
    site.install("acme", "1.2", runit="Good")
    site.install("other-vendor", "3.0", runit="Good")
    assert_refused(
        site.run("runit"),
        "'runit' cannot be loaded: it is offered more than once, by acme 1.2 and other-vendor 3.0; "
        "remove all but one",
    )


def test_driver_of_another_distribution_is_taken_and_logged(site):
    site.install("acme", "1.2", runit="Good")
    done = site.run("runit")
    assert "process_manager driver: runit (acme 1.2), selected by configuration" in done.stderr
    assert f"{site.directory}/missing.pem" in done.stderr.splitlines()[-1]
    assert done.returncode == 2


STEVEDORE = "from stevedore import NamedExtensionManager as M; print(M('{}', ()).entry_points_names())"
# stevedore keeps its list only for interpreters outside /tmp.
ELSEWHERE = "import sys; sys.executable = '/opt/python/bin/python'; "


def test_driver_installed_again_is_seen_at_once(site):
    command = (sys.executable, "-c", f"{ELSEWHERE}{STEVEDORE.format(NAMESPACE)}")
    site.install_within_a_minute(runit="Good")
    assert "'runit'" in site.run("runit", command=command).stdout
    site.install_within_a_minute(s6="Good")
    # What the test is about: the list on disk is behind.
    assert "'runit'" in site.run("s6", command=command).stdout
    agent = f"{ELSEWHERE}from amphora.cmd.agent import main; sys.exit(main())"
    done = site.run("s6", command=(sys.executable, "-c", agent))
    assert "process_manager driver: s6 (acme 1.0), selected by configuration" in done.stderr


def rows(done):
    """First columns of each line of the table by family and name: from, selected, available."""
    heading, *lines = done.stdout.splitlines()
    starts = [heading.index(word) for word in heading.split()]
    cells = [[line[a:b].strip() for a, b in zip(starts, [*starts[1:], None], strict=True)] for line in lines]
    return {(family, name): rest for family, name, *rest in cells}


@pytest.mark.parametrize("words", [("drivers",), ("--list-drivers",)])
def test_table_tells_all_about_each_driver(site, words):
    site.install("acme", "1.2", runit="Unavailable", s6="Good")
    site.install("other", "7", runit2="Missing")
    done = site.run("s6", *words)
    table = rows(done)
    family = "process_manager"
    assert list(table)[:3] == [(family, name) for name in ("systemd", "upstart", "sysvinit")]
    assert table[family, "s6"] == ["acme 1.2", "by configuration", "yes"]
    assert table[family, "runit"] == ["acme 1.2", "-", "no: the shelf has no runit"]
    assert table[family, "runit2"][:2] == ["other 7", "-"]
    assert "failed on import" in table[family, "runit2"][2]
    assert table[family, "standalone"][1:] == ["-", "yes"]
    assert table["package_manager", "dpkg"][1:] == ["by auto", "yes"]
    assert (done.stderr, done.returncode) == ("", 0)


def test_table_is_printed_although_the_chosen_driver_is_missing(site):
    done = site.run("runit", "drivers")
    chosen, available = rows(done)["process_manager", "runit"][1:]
    assert chosen == "by configuration"
    assert available.startswith("no: no such driver is installed")
    assert done.stderr.startswith("amphora-agent: process_manager driver 'runit' cannot be loaded: no such")
    assert (done.stderr.count("\n"), done.returncode) == (1, 2)


def test_table_needs_no_root_and_changes_nothing(site):
    before = sorted(os.listdir(site.directory))
    done = site.run("auto", "drivers", command=("unshare", "--user", AGENT))
    assert rows(done)["network", "pyroute2"][1:] == ["-", "no: interfaces can only be changed as root"]
    assert done.returncode == 0, done.stderr
    assert sorted(set(os.listdir(site.directory)) - {"agent.conf"}) == before
