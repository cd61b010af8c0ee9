"""How long parts, folders and files may be. A budget is a reason to look: it may be moved, with a word why.

`pytest -s tests/build/test_budgets.py` prints the table.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest
from support import ROOT

PART = 3000
PROTOCOL = 1500  # a folder of protocol/
FILE = 400
TEST_FILE = 500
# What every protocol stands on. 8000, before the figures, the table of versions and the budget of announced memory
# came; 9000, before each version got a scheduler of its own, texts became tensors and functions were rerun by halves;
# 10000, before what functions change in place was kept from a second run; 10400, before batches that ended a worker
# were run again in halves; 10900, before connections took turns, requests had priorities, and small memory was kept
# by thread; 11400, before callees of a lane took strict turns, and what logs leave out was counted; 11500, before the
# arena kept small blocks on shelves for each thread; 11800, before what cannot be answered in time was refused; 12100,
# before a server ended in steps, and workers that take too long were ended.
CORE = ["base", "tensor", "memory", "metrics", "channel", "request", "schedule", "server", "worker"]
CORE_LINES = 12500

# Where another number holds, and why.
MOVED = {
    "python/servoir/backends": (
        3700,
        "what each computes otherwise than ONNX says, in nested graphs too, and tensors in files that links lead to",
    ),
    "cpp/src/schedule": (3400, "order, deaths, room and deadlines are steps of one state machine under one lock"),
    "cpp/src/protocol/seed": (2000, "both wire forms, and gRPC requests are read whole and in pieces"),
    "cpp/src/bindings/function_runner.cpp": (
        420,
        "what functions get, give and raise, the statuses they choose among it",
    ),
}

SUFFIXES = {".h", ".cc", ".cpp", ".py", ".pyi", ".sh", ".cmake"}


def lines_of(path: Path) -> int:
    return path.read_bytes().count(b"\n")


def sources() -> list[Path]:
    """The source files of the repository; without git, as in a source distribution, those in its folders."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode == 0:
        paths: Iterable[Path] = (ROOT / name for name in listed.stdout.splitlines())
    else:
        folders = ("cpp", "python", "scripts", "bench", "examples", "tests", "cmake")
        paths = (path for folder in folders for path in (ROOT / folder).rglob("*"))
    return [path for path in paths if path.suffix in SUFFIXES and path.is_file() and "third_party" not in path.parts]


SOURCES = sources()


def size(folder: Path) -> int:
    return sum(lines_of(path) for path in SOURCES if path.is_relative_to(folder))


def folders(*parents: str) -> list[Path]:
    """The folders of the parents that hold sources."""
    return sorted(
        folder
        for parent in parents
        for folder in (ROOT / parent).iterdir()
        if folder.is_dir() and any(path.is_relative_to(folder) for path in SOURCES)
    )


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def over(kind: str, sizes: dict[str, int], budget: int) -> list[str]:
    """Prints the table; what is over its budget."""
    print(f"\n{kind}, at most {budget}:")
    wrong = []
    for what, lines in sorted(sizes.items(), key=lambda item: -item[1]):
        most, why = MOVED.get(what, (budget, ""))
        print(f"{lines:7} of {most:5}  {what}  {why}".rstrip())
        if lines > most:
            wrong.append(f"{what} has {lines} lines and may have {most}")
    return wrong


def test_no_part_is_over_its_budget() -> None:
    """The part protocol without the protocols, which have a budget of their own."""
    sizes = {name(folder): size(folder) for folder in folders("cpp/src", "python/servoir")}
    sizes["cpp/src/protocol"] -= sum(size(folder) for folder in folders("cpp/src/protocol"))
    assert over("parts", sizes, PART) == []


def test_no_protocol_is_over_its_budget() -> None:
    sizes = {name(folder): size(folder) for folder in folders("cpp/src/protocol")}
    assert over("protocols", sizes, PROTOCOL) == []


def test_the_core_without_protocols_is_within_its_budget() -> None:
    sizes = {part: size(ROOT / "cpp" / "src" / part) for part in CORE}
    print("\n" + ", ".join(f"{part} {lines}" for part, lines in sizes.items()))
    assert over("the core", {"all of it": sum(sizes.values())}, CORE_LINES) == []


@pytest.mark.parametrize(("tests", "budget"), [(False, FILE), (True, TEST_FILE)], ids=["sources", "tests"])
def test_no_file_is_over_its_budget(tests: bool, budget: int) -> None:
    sizes = {name(path): lines_of(path) for path in SOURCES if (path.relative_to(ROOT).parts[0] == "tests") == tests}
    longest = dict(sorted(sizes.items(), key=lambda item: -item[1])[:12])
    assert over("files, the longest", longest, budget) == []


def test_every_moved_budget_is_of_something() -> None:
    assert [what for what in MOVED if not (ROOT / what).exists()] == []
