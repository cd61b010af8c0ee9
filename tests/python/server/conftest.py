from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.fake_core_scripts import Run, copy_package, fake_core_runner


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place with the package, on the fake core."""
    place = tmp_path_factory.mktemp("tree")
    copy_package(place)
    return place


@pytest.fixture
def run(tree: Path, tmp_path: Path) -> Iterator[Run]:
    """See fake_core_runner()."""
    yield from fake_core_runner(tree, tmp_path)
