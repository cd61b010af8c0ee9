"""The namespaces of the C++ parts, by the rule in docs/development.md."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import pytest
from support import ROOT

SOURCES = ROOT / "cpp" / "src"
# Their names are words that other parts use as well (a route, a call, a counter), or that a protocol has given them.
OWN = {"bindings", "grpc", "http", "metrics", "service"}
PARTS = sorted(path.name for path in SOURCES.iterdir() if path.is_dir())


def files_of(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.suffix in {".h", ".cc", ".cpp"}]


def expected(path: Path) -> str:
    part, *folders = path.relative_to(SOURCES).parts[:-1]
    if part in {"protocol", "backends"} and folders:
        return f"servoir::{folders[0]}"
    return f"servoir::{part}" if part in OWN else "servoir"


@pytest.mark.parametrize("part", PARTS)
def test_each_file_is_in_the_namespace_of_its_part(part: str) -> None:
    wrong = []
    for path in files_of(SOURCES / part):
        opened = set(re.findall(r"^namespace (servoir[\w:]*) \{", path.read_text(encoding="utf-8"), re.MULTILINE))
        plugin = {"servoir::plugin"} if part == "backends" else set()  # a plug-in defines what that declares
        if not opened <= {expected(path)} | plugin:
            wrong.append(f"{path.relative_to(ROOT)} opens {', '.join(sorted(opened))}, not {expected(path)}")
    assert wrong == []


def test_no_two_parts_give_the_shared_namespace_the_same_type() -> None:
    homes: dict[str, set[str]] = defaultdict(set)
    for part in PARTS:
        for path in files_of(SOURCES / part):
            if path.suffix == ".h" and expected(path) == "servoir":
                defined = r"^(?:class|struct|enum class|union) (?:alignas\([^)]*\) )?(\w+)[^;]*?\{"
                for name in re.findall(defined, path.read_text(encoding="utf-8"), re.MULTILINE):
                    homes[name].add(part)
    assert len(homes) > 100
    assert {name: sorted(parts) for name, parts in homes.items() if len(parts) > 1} == {}
