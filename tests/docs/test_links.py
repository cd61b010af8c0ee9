"""Links between the pages lead to files and headings that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support import ROOT

PAGES = sorted(
    [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "tests").rglob("*.md"), *ROOT.glob("bench/*.md")]
)


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings: lower case, without punctuation, with hyphens for spaces."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    wrong = []
    for link in links:
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page if not path else (page.parent / path).resolve()
        if not target.exists() or (anchor and anchor not in anchors(target)):
            wrong.append(link)
    assert not wrong


def test_every_page_is_reached_from_the_readme() -> None:
    linked = set(re.findall(r"\((docs/[\w-]+\.md)", (ROOT / "README.md").read_text()))
    assert linked >= {str(page.relative_to(ROOT)) for page in (ROOT / "docs").glob("*.md")}
