"""The order of the package's parts: a module imports only what lies below it, and no imports form a circle.

Every import counts, also those inside functions and those that only type checkers see.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import ROOT

PACKAGE = ROOT / "python" / "servoir"
# From the bottom to the top. The modules of the first row may use each other, the parts of another row may not.
BASE = {
    "check",
    "dtypes",
    "encryption",
    "errors",
    "figures",
    "forks",
    "log",
    "machine",
    "protobuf_wire",
    "settings",
    "standard_streams",
}
ORDER = [BASE, {"servable"}, {"backends"}, {"control"}, {"server", "worker", "client"}, {"cli"}, {"__main__"}]
# Below everything: the package itself, which every import loads first, and the extension. The extension's stub names
# types of the graph and of figures.
BOTTOM = {"", "_core"}
STUB_NAMES = {"servoir.figures", "servoir.servable.spec"}


def part_of(module: str) -> str:
    """ "servable" of "servoir.servable.spec", "" of "servoir"."""
    return module.split(".")[1] if "." in module else ""


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted([*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.pyi")]):
        parts = ["servoir", *path.relative_to(PACKAGE).with_suffix("").parts]
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(path: Path, known: set[str]) -> Iterator[str]:
    """The modules of this package that the file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.split(".")[0] == "servoir")
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are absolute here"
            if node.module is not None and node.module.split(".")[0] == "servoir":
                for name in node.names:
                    inner = f"{node.module}.{name.name}"
                    yield inner if inner in known else node.module


MODULES = modules()
IMPORTS = {module: set(imports_of(path, set(MODULES))) - {module} for module, path in MODULES.items()}


def row_of(part: str) -> int:
    if part in BOTTOM:
        return -1
    (row,) = (number for number, parts in enumerate(ORDER) if part in parts)
    return row


def test_every_module_has_one_place() -> None:
    assert sorted({part_of(module) for module in MODULES}) == sorted([*BOTTOM, *itertools.chain(*ORDER)])


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_go_downwards(module: str) -> None:
    part = part_of(module)
    for imported in sorted(IMPORTS[module] - (STUB_NAMES if part == "_core" else set())):
        other = part_of(imported)
        together = other == part or {part, other} <= BASE or {part, other} <= BOTTOM
        assert together or row_of(other) < row_of(part), (
            f"{module} imports {imported}, but {other or 'the package itself'} does not lie below {part}"
        )


def test_no_imports_form_a_circle() -> None:
    """A package that imports its own modules is no circle with them."""
    inside = {
        module: {
            other for other in imported if not module.startswith(f"{other}.") and not other.startswith(f"{module}.")
        }
        for module, imported in IMPORTS.items()
    }
    circles = set()
    for start in inside:
        way = shortest_way_back(start, inside)
        if way:
            first = way.index(min(way))
            circles.add(" → ".join([*way[first:], *way[:first], min(way)]))
    assert sorted(circles) == []


def shortest_way_back(start: str, graph: dict[str, set[str]]) -> list[str]:
    """The modules on the shortest way from `start` to itself; none where there is no such way."""
    came_from: dict[str, str] = {}
    waiting = [start]
    while waiting:
        module = waiting.pop(0)
        for other in sorted(graph.get(module, ())):
            if other == start:
                way = [module]
                while way[-1] != start:
                    way.append(came_from[way[-1]])
                return way[::-1]
            if other not in came_from:
                came_from[other] = module
                waiting.append(other)
    return []


def test_this_test_sees_circles_and_imports_of_all_kinds(tmp_path: Path) -> None:
    assert shortest_way_back("a", {"a": {"b"}, "b": {"c"}, "c": {"a", "b"}}) == ["a", "b", "c"]
    assert shortest_way_back("a", {"a": {"b"}, "b": {"c"}, "c": {"b"}}) == []
    path = tmp_path / "module.py"
    path.write_text(
        "import os, servoir.check\nfrom servoir import log, stop\nfrom servoir.a.b import c\n"
        "def f():\n    from servoir.d import e\n"
        "if TYPE_CHECKING:\n    import servoir.g as g\nfrom other import servoir\n"
    )
    found = set(imports_of(path, {"servoir.log", "servoir.d.e"}))
    assert found == {"servoir.check", "servoir.log", "servoir", "servoir.a.b", "servoir.d.e", "servoir.g"}
