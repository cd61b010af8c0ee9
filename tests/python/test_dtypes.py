"""The table of element types against the core's and NumPy's."""

from __future__ import annotations

import numpy as np
from servoir import _core
from servoir.dtypes import DTYPES, TEXTS


def test_the_core_has_the_same_in_the_same_order() -> None:
    assert (*DTYPES, *TEXTS, "bfloat16") == _core.dtypes


def test_numpy_has_the_same_names() -> None:
    assert [np.dtype(name).name for name in DTYPES] == list(DTYPES)
