# SPDX-License-Identifier: Apache-2.0
"""Real entry points of real (tiny) distributions; nothing is patched into stevedore."""

import itertools
import sys
from pathlib import Path

import pytest

from amphora.drivers import loader
from amphora.drivers.base import Driver, DriverContext
from amphora.drivers.families import FAMILIES
from amphora.errors import DriverLoadError, DriverUnavailable
from amphora.system.command import CommandRunner
from tests.support.distributions import install_distribution

CONTEXT = DriverContext(Path("/s"), Path("/c"), Path("/i"), "", CommandRunner())

MODULE = """
from amphora.drivers.base import Driver
from amphora.errors import DriverUnavailable

class Good(Driver):
    @classmethod
    def create(cls, context):
        return cls()
    def check_available(self):
        pass

class Falsy(Good):
    def __len__(self):
        return 0

class Unavailable(Good):
    def check_available(self):
        raise DriverUnavailable("no such init system")

class Exploding(Good):
    @classmethod
    def create(cls, context):
        raise RuntimeError("boom\\nand more")

class Reluctant(Good):
    def objection_to_auto(self):
        return "nobody asked for it"

class Particular(Good):
    condition = "the moon is full"

class Stranger:
    pass
"""

_numbers = itertools.count()


class Site:
    """A directory of installed distributions, with a family of its own."""

    def __init__(self, directory, preferred=(), last_resort=()):
        self.directory = directory
        self.module = f"sample_drivers_{next(_numbers)}"
        (directory / f"{self.module}.py").write_text(MODULE)
        self.family = loader.Family(f"sample_{next(_numbers)}", Driver, preferred, last_resort)

    def install(self, distribution, version="1.0", **entry_points):
        targets = {name: target.replace("MODULE", self.module) for name, target in entry_points.items()}
        install_distribution(self.directory, distribution, version, self.family.namespace, targets)

    def load(self, name):
        return loader.load(self.family, name, CONTEXT)


@pytest.fixture
def make_site(tmp_path, monkeypatch):
    def make(**order):
        directory = tmp_path / f"site-{next(_numbers)}"
        directory.mkdir()
        monkeypatch.syspath_prepend(str(directory))
        return Site(directory, **order)

    yield make
    for name in [name for name in sys.modules if name.startswith("sample_drivers_")]:
        del sys.modules[name]


def test_a_driver_chosen_by_name_is_built(make_site):
    site = make_site()
    site.install("acme", good="MODULE:Good", broken="MODULE:Missing")
    selected = site.load("good")
    assert selected.name == "good"
    assert type(selected.driver).__name__ == "Good"


def test_a_driver_whose_instance_is_falsy_is_still_an_instance(make_site):
    site = make_site()
    site.install("acme", falsy="MODULE:Falsy")
    assert not isinstance(site.load("falsy").driver, type)


def test_an_unknown_name_lists_what_there_is(make_site):
    site = make_site()
    site.install("acme", good="MODULE:Good", other="MODULE:Good")
    with pytest.raises(DriverLoadError) as caught:
        site.load("goood")
    assert str(caught.value) == (
        f"{site.family.name} driver 'goood' cannot be loaded: no such driver is installed; "
        "available: good, other"
    )


def test_a_driver_that_fails_on_import_names_the_cause(make_site):
    site = make_site()
    site.install("acme", broken="MODULE:Missing")
    with pytest.raises(DriverLoadError, match=r"'broken' cannot be loaded: .*:Missing failed on import"):
        site.load("broken")


def test_a_name_offered_by_two_distributions_names_both(make_site):
    site = make_site()
    site.install("acme", good="MODULE:Good")
    site.install("other-vendor", "2.1", good="MODULE:Falsy")
    with pytest.raises(DriverLoadError, match="more than once, by acme 1.0 and other-vendor 2.1"):
        site.load("good")


def test_a_class_without_the_contract_is_refused(make_site):
    site = make_site()
    site.install("acme", stranger="MODULE:Stranger")
    with pytest.raises(DriverLoadError, match="is no subclass of Driver"):
        site.load("stranger")


def test_a_driver_that_cannot_be_built_is_named(make_site):
    site = make_site()
    site.install("acme", exploding="MODULE:Exploding")
    with pytest.raises(DriverLoadError, match="could not be set up: RuntimeError: boom and more$"):
        site.load("exploding")


def test_a_driver_that_cannot_work_here_says_why(make_site):
    site = make_site()
    site.install("acme", upstart="MODULE:Unavailable")
    with pytest.raises(DriverUnavailable, match="'upstart' cannot work on this machine: no such init system"):
        site.load("upstart")


def test_auto_asks_in_the_documented_order(make_site):
    site = make_site(preferred=("zeta",), last_resort=("alpha",))
    site.install("acme", alpha="MODULE:Good", beta="MODULE:Good", zeta="MODULE:Unavailable")
    assert loader.registered_names(site.family) == ["zeta", "beta", "alpha"]
    assert site.load("auto").name == "beta"


def test_auto_passes_over_broken_drivers(make_site):
    site = make_site()
    site.install("acme", a="MODULE:Missing", b="MODULE:Stranger", c="MODULE:Good")
    assert site.load("auto").name == "c"


def test_auto_passes_over_a_driver_that_objects(make_site):
    site = make_site(preferred=("reluctant", "good"))
    site.install("acme", reluctant="MODULE:Reluctant", good="MODULE:Good")
    taken = loader.load(site.family, "auto", CONTEXT)
    assert (taken.name, taken.reason) == ("good", "auto, since reluctant: nobody asked for it")
    assert loader.load(site.family, "reluctant", CONTEXT).name == "reluctant"


def test_auto_without_a_usable_driver_gives_every_reason(make_site):
    site = make_site()
    site.install("acme", a="MODULE:Missing", b="MODULE:Unavailable")
    with pytest.raises(DriverUnavailable, match=r"failed on import.*no such init system"):
        site.load("auto")


def test_auto_without_any_driver_says_so(make_site):
    with pytest.raises(DriverUnavailable, match="none is installed"):
        make_site().load("auto")


def test_the_projects_own_drivers_keep_their_contracts():
    for family in FAMILIES:
        for name in loader.registered_names(family):
            assert issubclass(loader._import(family, name), family.contract)


def test_a_name_offered_twice_for_the_same_object_names_both(make_site):
    # As a fork under another name does; stevedore's own list holds it once.
    site = make_site()
    site.install("acme", good="MODULE:Good")
    site.install("acme-fork", good="MODULE:Good")
    with pytest.raises(DriverLoadError, match="more than once, by acme 1.0 and acme-fork 1.0"):
        site.load("good")


@pytest.mark.parametrize("failure", ["assert not 'here'", "raise SystemExit(3)", "import nowhere_at_all"])
def test_a_module_that_fails_in_any_way_is_named(make_site, failure):
    site = make_site()
    (site.directory / f"{site.module}_broken.py").write_text(failure)
    site.install("acme", broken=f"{site.module}_broken:Driver")
    with pytest.raises(DriverLoadError, match="'broken' cannot be loaded: .* failed on import"):
        site.load("broken")


def log_of(caplog):
    return [record.getMessage() for record in caplog.records if record.name == loader.__name__]


def test_the_log_tells_once_what_auto_took_and_why(make_site, caplog):
    caplog.set_level("INFO")
    site = make_site()
    site.install("acme", "2.0", moon="MODULE:Particular")
    site.load("auto")
    assert log_of(caplog) == [
        f"{site.family.name} driver: moon (acme 2.0), selected by auto: the moon is full"
    ]


def test_the_log_tells_why_others_were_passed_over(make_site, caplog):
    caplog.set_level("INFO")
    site = make_site(last_resort=("good",))
    site.install("acme", good="MODULE:Good", upstart="MODULE:Unavailable", broken="MODULE:Missing")
    site.load("auto")
    (line,) = log_of(caplog)
    assert line.startswith(f"{site.family.name} driver: good (acme 1.0), selected by auto, since broken: ")
    assert line.endswith("; upstart: no such init system")


def test_the_log_tells_what_configuration_chose(make_site, caplog):
    caplog.set_level("INFO")
    site = make_site()
    site.install("acme", good="MODULE:Good")
    site.load("good")
    assert log_of(caplog) == [f"{site.family.name} driver: good (acme 1.0), selected by configuration"]


def test_a_driver_is_examined_without_raising(make_site):
    site = make_site()
    site.install("acme", good="MODULE:Good", exploding="MODULE:Exploding")
    good, exploding, missing = (
        loader.examine(site.family, name, CONTEXT) for name in ("good", "exploding", "missing")
    )
    assert (good.sources, good.reason, good.error) == (("acme 1.0",), "", None)
    assert exploding.driver is None
    assert exploding.reason == "RuntimeError: boom and more"
    assert missing.sources == ()
    assert "no such driver is installed" in str(missing.error)


def test_documented_orders_hold():
    orders = {family.name: loader.registered_names(family) for family in FAMILIES}
    assert orders == {
        "process_manager": ["systemd", "upstart", "sysvinit", "standalone"],
        "cert_store": ["tmpfs"],
        "package_manager": ["dpkg", "rpm"],
        "network": ["ifupdown", "pyroute2"],
    }
