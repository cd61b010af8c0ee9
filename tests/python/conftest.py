"""Tests of the Python packages. They run without the extension where they can; those that need it import it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.in_process import InProcess


@pytest.fixture
def in_process(tmp_path: Path) -> Iterator[InProcess]:
    from support.in_process import InProcess

    made = InProcess(tmp_path)
    yield made
    made.stop()
