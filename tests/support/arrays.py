"""Arrays, made and compared."""

from __future__ import annotations

from typing import Any

import numpy as np


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def pairs(count: int) -> list[tuple[np.ndarray]]:
    """Instances with the one input [n, -n]."""
    return [(floats(number, -number),) for number in range(count)]


def same(got: Any, wanted: np.ndarray) -> bool:
    """Type, shape and every bit."""
    return bool(got.dtype == wanted.dtype and got.shape == wanted.shape and got.tobytes() == wanted.tobytes())
