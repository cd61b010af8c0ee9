"""docs/settings.md has the settings of servoir.settings, and nothing else reads the environment."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from servoir import settings
from servoir.settings import Setting
from support import ROOT

PAGE = ROOT / "docs" / "settings.md"
PACKAGE = ROOT / "python" / "servoir"
# What is handed on to a worker, set for a library that reads it, or read to say what a library has read.
HANDED_ON = {"server/fleet/worker_role.py", "backends/torch/backend.py", "backends/openvino.py", "client/proxy.py"}


def row(setting: Setting) -> str:
    names = [f"`{name}`" for name in (setting.variable, setting.predecessor)]
    cells = [*(name if name != "``" else "" for name in names), setting.meaning, setting.unit, setting.shown_default]
    return "| " + " | ".join(cells) + " |"


def test_the_page_has_every_setting() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if re.match(r"\| (`|  ?\| `)", line)]
    expected = [row(setting) for setting in settings.TABLE]
    assert rows == expected, "docs/settings.md should have the rows\n" + "\n".join(expected)


def test_every_setting_is_in_the_table() -> None:
    there = [value for value in vars(settings).values() if isinstance(value, Setting)]
    assert there == list(settings.TABLE)


def environment_readers(path: Path) -> list[int]:
    """Lines that use os.environ or os.getenv."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "environb", "getenv", "getenvb"}
    ]


def test_nothing_else_reads_the_environment() -> None:
    readers = {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if environment_readers(path)}
    assert readers == {"settings.py", *HANDED_ON}


def test_the_native_parts_read_only_what_is_in_the_table() -> None:
    names = {name for setting in settings.TABLE for name in (setting.variable, setting.predecessor)}
    read = {
        name
        for path in (ROOT / "cpp" / "src").rglob("*.cc")
        for name in re.findall(r"getenv\(([^)]*)\)", path.read_text())
    }
    assert read
    assert {name.strip('"') for name in read} <= names
