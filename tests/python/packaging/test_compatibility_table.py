"""docs/compatibility.md names tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
TABLE = ROOT / "docs" / "compatibility.md"
CONTRACT = "tests/e2e/contract"


def named() -> tuple[set[str], set[str]]:
    """Files and functions that stand in backticks."""
    files: set[str] = set()
    functions: set[str] = set()
    for text in re.findall(r"`([^`]+)`", TABLE.read_text()):
        match = re.fullmatch(r"((?:[\w./-]+/)?[\w-]+\.(?:py|cc))?(?:::)?(test_\w+)?(?:\[.*\])?", text)
        if match is None:
            continue
        if match[1] and ("test" in match[1]):
            files.add(match[1] if match[1].startswith("tests/") else f"{CONTRACT}/{match[1]}")
        if match[2]:
            functions.add(match[2])
    return files, functions


def test_the_files_are_there() -> None:
    files, _ = named()
    assert len(files) > 14
    assert [name for name in sorted(files) if not (ROOT / name).is_file()] == []


def test_the_functions_are_there() -> None:
    _, functions = named()
    assert len(functions) > 100
    there = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        there |= set(re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE))
    assert sorted(functions - there) == []
