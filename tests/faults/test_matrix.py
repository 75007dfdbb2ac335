# SPDX-License-Identifier: Apache-2.0
"""The fault matrix is complete: every kind of change of the core has cells, and their number is told."""

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest

import amphora.core
from amphora.core.workloads.haproxy import HaproxyWorkload
from amphora.core.workloads.lvs import LvsWorkload
from amphora.core.workloads.vrrp import VrrpWorkload
from tests.conftest import sums
from tests.faults.matrix import Cell, cells

CORE = Path(amphora.core.__file__).parent
HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "doc" / "source" / "fault_matrix.rst"

#: What the cells of the changes that a module makes are called.
FAMILIES = {
    "agent": ("agent_files",),
    "certificate": ("workloads.certificates",),
    "packet filter": ("network.interface_rules",),
    "port": ("network.plug_change",),
    "topology": ("topology",),
}
#: The cells of the changes that a workload makes of itself, which are its methods.
WORKLOADS = {"haproxy": HaproxyWorkload, "keepalived": VrrpWorkload, "LVS": LvsWorkload}
_OF_WORKLOADS = {"workloads.workload", "workloads.changes"}
#: Give their steps to the modules above, or hand over what those have made.
_SHARED = {"changes.operations", "network.plug"}


class Module:
    """A module of the core: what changes it makes, and what they may be called."""

    def __init__(self, path):
        self.name = ".".join(path.relative_to(CORE).with_suffix("").parts)
        self._module = importlib.import_module(f"amphora.core.{self.name}")
        self._tree = ast.parse(path.read_text())

    @property
    def makes_changes(self):
        """Whether it has a change of its own or hands one to the mechanism."""
        calls = [node for node in ast.walk(self._tree) if isinstance(node, ast.Call)]
        runs = any(re.search(r"operations\.run$", ast.unparse(call.func)) for call in calls)
        return runs or any(_is_steps(call) for call in calls) or any(map(_is_change, ast.walk(self._tree)))

    @property
    def kinds(self):
        """What its changes are called, but for those of a class that is told by its caller."""
        named = [node.args[0] for node in ast.walk(self._tree) if _is_steps(node)]
        named += [
            node.value
            for of_class in filter(_is_change, ast.walk(self._tree))
            for node in of_class.body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "kind"
        ]
        return {self._value(node) for node in named}

    @property
    def words(self):
        """Its constants that are words, by name."""
        return {
            name: value
            for name, value in vars(self._module).items()
            if name.isupper() and isinstance(value, str)
        }

    def uses(self, words):
        """Return which kinds of change it names in any way.

        :param words: the names of constants and functions, and the kind that each stands for.
        """
        names = {node.id for node in ast.walk(self._tree) if isinstance(node, ast.Name)}
        return self.kinds | {kind for name, kind in words.items() if name in names}

    def _value(self, node):
        return node.value if isinstance(node, ast.Constant) else getattr(self._module, node.id)


def _is_steps(node):
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "Steps"


def _is_change(node):
    if not isinstance(node, ast.ClassDef) or any("Protocol" in ast.unparse(base) for base in node.bases):
        return False
    methods = {each.name for each in node.body if isinstance(each, ast.FunctionDef)}
    return {"stage", "swap", "restore"} <= methods


def core_modules():
    modules = [Module(path) for path in sorted(CORE.rglob("[a-z]*.py"))]
    return {each.name: each for each in modules}


def matrix_tests():
    """Return the tests that are given cells, and the cells that each is given."""
    modules = [
        importlib.import_module(f"tests.faults.{path.stem}") for path in sorted(HERE.glob("test_*.py"))
    ]
    marked = [(each, mark) for module in modules for each in vars(module).values() for mark in _marks(each)]
    return [(test, [parameter.values[0] for parameter in mark.args[1]]) for test, mark in marked]


def _marks(test):
    return [mark for mark in getattr(test, "pytestmark", []) if mark.args and mark.args[0] == "cell"]


@pytest.fixture(scope="module")
def tried():
    return [cell for _, given in matrix_tests() for cell in given]


def test_every_module_that_makes_changes_is_known():
    making = {name for name, module in core_modules().items() if module.makes_changes}
    known = {name for names in FAMILIES.values() for name in names}
    assert making - _SHARED == known | _OF_WORKLOADS


def test_every_change_of_a_workload_has_cells(tried):
    modules = core_modules()
    kinds = modules["changes.service_changes"].words | modules["changes.operations"].words
    made = set().union(*(modules[name].uses(kinds) for name in _OF_WORKLOADS))
    for family, workload in WORKLOADS.items():
        has_cells = {cell.kind.kind for cell in tried if cell.kind.family == family}
        assert {kind for kind in made if hasattr(workload, kind)} == has_cells, family


def test_every_kind_of_change_has_cells(tried):
    modules = core_modules()
    for family, names in FAMILIES.items():
        made = set().union(*(modules[name].kinds for name in names))
        has_cells = {cell.kind.kind for cell in tried if str(cell.kind).startswith(family)}
        assert made == has_cells, family


def test_every_step_and_fault_is_tried_with_every_kind(tried):
    every = set(cells(*{cell.kind for cell in tried}))
    assert set(tried) <= every
    for field in ("step", "fault"):
        for family in (*FAMILIES, *WORKLOADS):
            of_family = [cell for cell in tried if str(cell.kind).startswith(family)]
            all_of_it = {getattr(cell, field) for cell in every if str(cell.kind).startswith(family)}
            assert {getattr(cell, field) for cell in of_family} == all_of_it, (family, field)


def test_the_sizes_that_are_told_are_true(tried):
    size = len(cells(*{cell.kind for cell in tried}))
    told = int(re.search(r"The matrix has more than (\d+) cells", PAGE.read_text())[1])
    assert told <= size < told + 500
    assert len(tried) == len(set(tried)) >= 200


def test_each_cell_is_counted_where_the_number_is_printed():
    for test, given in matrix_tests():
        assert 'count("fault matrix", str(cell.kind))' in inspect.getsource(test)
        assert all(isinstance(cell, Cell) for cell in given)


def test_what_is_printed_counts_each_test_once_and_tells_failures():
    class Report:
        def __init__(self, nodeid, failed=False):
            self.nodeid, self.failed = nodeid, failed
            self.user_properties = [("counted", ("fault matrix", f"kind {nodeid}"))]

    reports = [Report("1"), Report("1"), Report("2"), Report("2", failed=True)]
    assert list(sums(reports[:2])) == ["fault matrix: 1 cells, all green (kind 1 1)"]
    assert list(sums(reports)) == ["fault matrix: 2 cells, 1 FAILED (kind 1 1, kind 2 1)"]
