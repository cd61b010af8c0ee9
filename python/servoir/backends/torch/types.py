"""Types of PyTorch's tensors by numpy's names."""

from __future__ import annotations

from typing import Any

from servoir.dtypes import DTYPES
from servoir.errors import BackendError


def name_of(dtype: Any, what: str) -> str:
    """BackendError, naming `what` has it, for a type that cannot be served."""
    name = str(dtype).removeprefix("torch.")
    if name not in DTYPES:
        remedy = "; convert it to float32 in the program" if name == "bfloat16" else ""
        raise BackendError(f"{what} is {name}, which cannot be served{remedy}")
    return name
