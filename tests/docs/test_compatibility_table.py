"""docs/compatibility.md names tests that there are, each where it says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from support import ROOT

TABLE = ROOT / "docs" / "compatibility.md"
TESTS = ROOT / "tests"


def path_of(name: str) -> Path:
    return ROOT / name if name.startswith("tests/") else TESTS / "e2e" / name


def functions_of(name: str) -> set[str]:
    path = path_of(name)
    return set(re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE)) if path.is_file() else set()


def references() -> Iterator[tuple[set[str], str, str]]:
    """For each that stands in backticks: files that may have it, the file that it names, the function that it names."""
    for section in re.split(r"^## ", TABLE.read_text(), flags=re.MULTILINE)[1:]:
        _, top, table = section.split("\n\n", 2)
        at_top = set(re.findall(r"`([\w./-]+)`", top))
        for name in at_top:
            yield at_top, name, ""
        for row in table.splitlines():
            last = ""
            for text in re.findall(r"`([^`]+)`", row):
                match = re.fullmatch(r"((?:[\w./-]+/)?[\w-]+\.(?:py|cc))?(::)?(test_\w+)?(?:\[.*\])?", text)
                if match is None or not (match[1] or match[3]) or (match[1] and "test" not in match[1]):
                    continue
                file, colons, function = (match[1] or ""), match[2], (match[3] or "")
                last = file or last
                yield ({last} if colons else {last, *at_top} if not file else {file}), file, function


def test_the_files_are_there() -> None:
    files = {file for _, file, _ in references() if file}
    assert len(files) > 14
    assert [name for name in sorted(files) if not path_of(name).is_file()] == []


def test_the_functions_are_there() -> None:
    functions = [(places, function) for places, _, function in references() if function]
    assert len({function for _, function in functions}) > 100
    missing = [
        f"{function} in {sorted(places)}"
        for places, function in functions
        if not any(function in functions_of(place) for place in places if place)
    ]
    assert missing == []
