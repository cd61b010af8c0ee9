"""What docs/development.md names is there: files and folders, and names in the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support import ROOT

PAGE = ROOT / "docs" / "development.md"
RECIPES = PAGE.read_text().partition("## How to add one")[2].partition("## What a build makes")[0]
SOURCES = [ROOT / "cpp", ROOT / "python", ROOT / "tests", ROOT / "cmake"]
SUFFIXES = (".h", ".cc", ".cpp", ".py", ".pyi", ".json", ".md", ".toml", ".txt", ".cmake", ".sh")
WORDS = set(re.findall(r"`([^`\n]+)`", RECIPES))
PATHS = sorted(word for word in WORDS if re.fullmatch(r"[\w./-]+", word) and word.endswith((*SUFFIXES, "/")))
# Names in C++ or Python, such as `Backend`, `grpc::Routes`, `plugin()`, `settings.NAME.value()`.
NAMES = sorted(word for word in WORDS - set(PATHS) if re.fullmatch(r"[A-Za-z_][\w.:]*(\([\w, ]*\))?", word))
# What looks like a name of the code and is not: ends of names, a word of HTTP, a command, parts of an example.
OTHERS = {"Allow", "_bucket", "_count", "_sum", "_total", "servoir", "scope", "batches.add()", "run"}


def found(path: str) -> list[Path]:
    """The files that a path may mean: from the root, or by its end; NAME stands for any name."""
    pattern = path.rstrip("/").replace("NAME", "*")
    return list(ROOT.glob(pattern)) or [match for folder in SOURCES for match in folder.rglob(pattern)]


@pytest.mark.parametrize("path", PATHS)
def test_files_of_the_recipes(path: str) -> None:
    assert any(match.is_dir() == path.endswith("/") for match in found(path))


@pytest.fixture(scope="module")
def identifiers() -> set[str]:
    files = (file for folder in SOURCES for file in folder.rglob("*") if file.suffix in {".h", ".cc", ".cpp", ".py"})
    texts = (file.read_text(errors="replace") for file in files if file.name != Path(__file__).name)
    return {word for text in texts for word in re.findall(r"[A-Za-z_]\w*", text)}


@pytest.mark.parametrize("name", [name for name in NAMES if name not in OTHERS])
def test_names_of_the_recipes(name: str, identifiers: set[str]) -> None:
    words = set(re.findall(r"[A-Za-z_]\w*", name)) - {"NAME"}
    assert words <= identifiers


def test_the_recipes_are_read() -> None:
    assert len(PATHS) > 20
    assert {"RequestBuilder", "MODEL_FORMATS", "grpc::Routes"} <= set(NAMES)
