"""The table of element types against the core's and NumPy's."""

from __future__ import annotations

import re

import numpy as np
from servoir import _core
from servoir.dtypes import DTYPES, TEXTS
from support import ROOT


def test_the_core_has_the_same_in_the_same_order() -> None:
    assert (*DTYPES, *TEXTS, "bfloat16") == _core.dtypes


def test_the_predict_call_numbers_them_in_the_same_order() -> None:
    """tests/cpp/protocol/seed/data_type_test.cc compares the server's numbers with the same file."""
    proto = (ROOT / "python" / "servoir" / "proto" / "ms_service.proto").read_text(encoding="utf-8")
    numbers = {name: int(number) for name, number in re.findall(r"MS_(\w+) = (\d+);", proto)}
    ours = {name.upper().replace("STR", "STRING"): number for number, name in enumerate((*DTYPES, *TEXTS), 1)}
    assert ours | {"UNKNOWN": 0} == numbers


def test_numpy_has_the_same_names() -> None:
    assert [np.dtype(name).name for name in DTYPES] == list(DTYPES)
