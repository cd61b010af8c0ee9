from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from support.in_process import InProcess


@pytest.fixture
def call(in_process: InProcess) -> Callable[..., Any]:
    """Serves the function and calls it."""

    def run(function: Callable[..., Any], given: list[tuple[Any, ...]], **options: Any) -> Any:
        in_process.function(function, inputs=len(given[0]), **options)
        in_process.start()
        return in_process.infer(function.__name__, given)

    return run
