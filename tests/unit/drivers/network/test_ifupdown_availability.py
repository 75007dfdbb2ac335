# SPDX-License-Identifier: Apache-2.0
"""Where ifupdown can work, and where ``auto`` takes it."""

import sys
from dataclasses import replace

import pytest

from amphora.drivers import loader
from amphora.drivers.base import DriverContext
from amphora.drivers.families import NETWORK
from amphora.drivers.network import ifupdown
from amphora.drivers.network.ifupdown import IfupdownNetwork
from amphora.drivers.network.pyroute2 import Pyroute2Network
from amphora.errors import DriverUnavailable
from amphora.models import InterfaceConfig
from amphora.system.command import CommandRunner

CONFIG = InterfaceConfig("eth1", "fa:16:3e:00:00:01")


@pytest.fixture
def etc(tmp_path, monkeypatch):
    """A machine's /etc whose interfaces(5) includes what the agent stores."""
    (tmp_path / "network").mkdir()
    (tmp_path / "network/interfaces").write_text(f"auto lo\nsource {tmp_path}/stored/*.cfg\n")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/ifup").touch(mode=0o755)
    monkeypatch.setattr(ifupdown, "SEARCH_PATH", str(tmp_path / "bin"))
    return tmp_path


def build(etc, namespace=""):
    return IfupdownNetwork(etc / "stored", etc / "state", namespace, CommandRunner(), etc=etc)


@pytest.mark.parametrize("driver_class", [IfupdownNetwork, Pyroute2Network])
def test_no_driver_is_available_without_the_library_it_needs(etc, monkeypatch, driver_class):
    context = DriverContext(etc, etc, etc / "stored", "", CommandRunner())
    driver_class.create(context).check_available()
    monkeypatch.setitem(sys.modules, "pyroute2", None)
    with pytest.raises(DriverUnavailable, match="pyroute2 is not installed"):
        driver_class.create(context).check_available()


def test_ifup_is_needed(etc):
    (etc / "bin/ifup").unlink()
    with pytest.raises(DriverUnavailable, match="ifup is not installed"):
        build(etc).check_available()


def test_auto_asks_ifupdown_before_pyroute2():
    names = loader.registered_names(NETWORK)
    assert names.index("ifupdown") < names.index("pyroute2")


def test_auto_takes_ifupdown_where_its_files_are_included(etc):
    assert build(etc).objection_to_auto() == ""
    relative = (etc / "network/interfaces").read_text().replace(f"{etc}/stored", "../stored")
    (etc / "network/interfaces").write_text(relative)
    assert build(etc).objection_to_auto() == ""


@pytest.mark.parametrize(
    "line", ["", "source /elsewhere/*.cfg", "# source {}/stored/*.cfg", "source {}/stored/*.d"]
)
def test_auto_passes_over_ifupdown_where_nothing_includes_its_files(etc, line):
    (etc / "network/interfaces").write_text(line.format(etc))
    assert "does not include" in build(etc).objection_to_auto()
    (etc / "network/interfaces").unlink()
    assert "does not include" in build(etc).objection_to_auto()


def test_interfaces_of_the_namespace_count_where_it_has_its_own(etc):
    assert build(etc, "amphora").objection_to_auto() == ""
    (etc / "netns/amphora/network").mkdir(parents=True)
    assert "netns/amphora/network/interfaces does not include" in build(etc, "amphora").objection_to_auto()


def test_auto_leaves_interfaces_with_the_driver_that_has_stored_them(etc):
    Pyroute2Network(etc / "stored", "", CommandRunner(), plugged=etc / "none/plugged").persist(CONFIG)
    assert build(etc).objection_to_auto() == "eth1 is stored by the pyroute2 driver"


def test_driver_with_an_objection_is_not_taken_by_auto(etc):
    candidates = [
        loader.Candidate("ifupdown", driver=build(etc), objection="it is not asked for"),
        loader.Candidate("pyroute2", driver=build(etc)),
    ]
    taken = loader.select(NETWORK, loader.AUTO, candidates)
    assert (taken.name, taken.reason) == ("pyroute2", "auto, since ifupdown: it is not asked for")
    assert loader.select(NETWORK, "ifupdown", candidates).name == "ifupdown"
    first = replace(candidates[0], objection="")
    assert loader.select(NETWORK, loader.AUTO, [first, candidates[1]]).name == "ifupdown"
