"""The rooms of the house: imports point down, and docs/architecture.md draws what is there."""

from __future__ import annotations

import importlib
import re
import sys
import tomllib
import warnings
from itertools import pairwise

import pytest

from docs import rooms
from tests.conftest import ROOT
from tocsin._moved import MOVED


def test_no_circle_between_rooms() -> None:
    graph = rooms.arrows()
    assert {name for name in graph if name in rooms.reachable(graph, name)} == set()
    assert sum(map(len, rooms.floors(graph))) == len(graph) >= 23


def test_no_import_points_uphill() -> None:
    """By the rows of the import contract: counted here without import-linter, type-checking imports included."""
    rows = rooms.layers()
    assert len(rows) <= 12

    def row(module: str) -> int | None:
        places = [n for n, names in enumerate(rows) for name in names if f"{module}.".startswith(f"{name}.")]
        return places[0] if places else None

    known = rooms.modules()
    placed = {module: row(module) for module in known}
    assert {module for module, at in placed.items() if at is None} <= {
        "tocsin",
        "tocsin.__main__",
        "tocsin._moved",
    }
    uphill = [
        f"{module} -> {other}"
        for module, path in known.items()
        for other in rooms.imports(path, known)
        if (here := placed[module]) is not None and (there := placed[other]) is not None and there < here
    ]
    assert uphill == []


def test_the_independence_contract_names_every_detector() -> None:
    """It must list modules: a wildcard would include the private modules, which detectors share."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (independent,) = [contract for contract in contracts if contract["type"] == "independence"]
    detectors = {module for module in rooms.modules() if re.fullmatch(r"tocsin_detectors\.[a-z]\w*", module)}
    assert set(independent["modules"]) == detectors
    assert len(detectors) >= 8


def test_a_circle_is_found() -> None:
    with pytest.raises(ValueError, match=r"a circle among \['a', 'b'\]"):
        rooms.floors({"a": frozenset("b"), "b": frozenset("a"), "c": frozenset()})


def test_the_architecture_page_is_up_to_date() -> None:
    assert rooms.PAGE.read_text() == rooms.page(), "run `make docs`"


def test_every_room_says_what_it_is_for() -> None:
    for line in rooms.table(rooms.arrows()):
        assert all(cell.strip() for cell in line.strip("|").split("|")), line


def test_the_files_and_functions_that_the_page_names_exist() -> None:
    text = rooms.PAGE.read_text()
    steps = re.findall(r"`(\w+/[\w/]+\.py)`(?: `([\w.]+)`)?", text)
    assert len([name for _, name in steps if name]) > 12
    for path, name in steps:
        code = (ROOT / path).read_text()
        if name:
            assert re.search(rf"^\s*(?:def|class) {name.rpartition('.')[2]}\b", code, re.MULTILINE), (
                f"{path} {name}"
            )


@pytest.mark.parametrize(("old", "new"), MOVED.items())
def test_an_old_path_warns_and_is_the_module_at_the_new_path(old: str, new: str) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        sys_modules_without(old)
        module = importlib.import_module(old)
    assert module is importlib.import_module(new)
    assert [str(w.message) for w in caught if w.category is DeprecationWarning] == [
        f"{old} is now {new}; the old path ends with Tocsin 0.3"
    ]


def sys_modules_without(name: str) -> None:
    sys.modules.pop(name, None)


def test_the_warning_names_the_line_of_the_import() -> None:
    sys_modules_without("tocsin.windows")
    with pytest.warns(DeprecationWarning, match=r"tocsin\.windows is now") as caught:
        from tocsin.windows import Window  # type: ignore[import-not-found]  # noqa: F401
    assert caught[0].filename == __file__


@pytest.mark.parametrize("pair", list(pairwise(rooms.floors(rooms.arrows()))), ids=len)
def test_a_floor_imports_from_below(pair: tuple[list[str], list[str]]) -> None:
    below, here = pair
    graph = rooms.arrows()
    assert all(graph[name] & set(below) for name in here)
