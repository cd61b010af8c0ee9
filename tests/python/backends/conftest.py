from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for the modules beside this file

if TYPE_CHECKING:
    from in_process import InProcess


@pytest.fixture
def in_process(tmp_path: Path) -> Iterator[InProcess]:
    from in_process import InProcess

    made = InProcess(tmp_path)
    yield made
    made.stop()
