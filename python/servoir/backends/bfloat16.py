"""bfloat16, which NumPy does not have: it is the upper half of a float32. Models that take and give it are served with
float32, to which it is exact; what they are given is rounded to the nearest, ties to even."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def rounded(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """The bits of float32 values as bfloat16. NaN stays NaN, what is too large becomes infinity."""
    bits = np.asarray(values, np.float32).view(np.uint32)
    upper = bits >> np.uint32(16)
    with np.errstate(over="ignore"):  # only of NaN
        nearest = (bits + (np.uint32(0x7FFF) + (upper & np.uint32(1)))) >> np.uint32(16)
    quiet = upper | np.uint32(0x40)
    return np.asarray(np.where(np.isnan(values), quiet, nearest), np.uint16)


def widened(bits: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
    """The float32 values of the bits of bfloat16."""
    return np.asarray(np.left_shift(bits, 16, dtype=np.uint32)).view(np.float32)
