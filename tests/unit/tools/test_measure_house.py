# SPDX-License-Identifier: Apache-2.0
"""What tools/measure-house counts, shown by a package of five small modules."""

import importlib.machinery
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[3] / "tools" / "measure-house"

MODULES = {
    "__init__.py": "",
    "top.py": '''"""Somebody is told where it is to be: none of it."""
from house import middle
from . import bottom

class Thin:
    """No method."""

class OneMethod:
    def only(self): ...

class Two:
    def first(self): ...
    async def second(self): ...
''',
    "middle/__init__.py": "from house.bottom import value\n\ndef later():\n    import house.lazy\n",
    "bottom.py": (
        "from __future__ import annotations\nfrom typing import TYPE_CHECKING\n\n"
        "# Whoever reads this is\n# to do nothing, where there\n# is none; 'told' = TELL.\n"
        "value = 'nobody is told'\n"
        "if TYPE_CHECKING:\n    from house import top\n"
    ),
    "lazy.py": '"""Nothing of note: it is told apart by nothing, and goes to them."""\n',
    "testing/suite.py": '"""Told."""\nfrom house import top\n\nclass Unseen: ...\n',
}


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """The script as a module."""
    loader = importlib.machinery.SourceFileLoader("measure_house", str(SCRIPT))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("measure_house", loader))
    sys.modules["measure_house"] = module
    loader.exec_module(module)
    return module


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A package on the disk."""
    for name, source in MODULES.items():
        path = tmp_path / "house" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    return tmp_path / "house"


def test_size_leaves_out_testing(script: ModuleType, house: Path) -> None:
    measured = script.measure(house)
    assert measured.modules == 5
    expected = sum(len(text.splitlines()) for name, text in MODULES.items() if "testing" not in name)
    assert measured.lines == expected


def test_depth_counts_only_what_runs_at_import(script: ModuleType, house: Path) -> None:
    # top, middle, bottom; neither the import in a function nor the one for types.
    assert script.measure(house).depth == 3


def test_a_circle_ends(script: ModuleType) -> None:
    assert script.longest_chain({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == 4
    assert script.longest_chain({}) == 0


def test_classes_with_one_method_or_none(script: ModuleType, house: Path) -> None:
    measured = script.measure(house)
    assert (measured.classes, measured.thin_classes) == (3, 2)


def test_modules_with_a_single_user(script: ModuleType, house: Path) -> None:
    # middle by top, top by bottom for its types, lazy by middle; bottom has two.
    assert script.measure(house).single_use == 3


def test_phrases_count_in_docstrings_and_comments_only(script: ModuleType, house: Path) -> None:
    assert script.measure(house).phrases == {
        "told/tell": 4,
        "somebody/nobody": 1,
        "whoever/whatever": 1,
        "is to be/do": 2,
        "where it/there": 2,
        "none of/is none": 2,
    }


def test_it_prints_every_measure(script: ModuleType, house: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert script.main([str(house)]) == 0
    printed = capsys.readouterr().out
    assert "import depth                        3\n" in printed
    assert "classes with one method or none     2 (67 %)\n" in printed
    words = script.measure(house).words
    assert f"per 1,000: told/tell                {4000 / words:.1f} (4)\n" in printed


def test_no_package_is_an_error(script: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as refused:
        script.main([str(tmp_path / "none")])
    assert refused.value.code == 2


def test_the_project_is_measured_by_default(script: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert script.main([]) == 0
    lines = dict(line.rsplit(maxsplit=1) for line in capsys.readouterr().out.splitlines()[:3])
    assert int(lines["modules"]) > 200
