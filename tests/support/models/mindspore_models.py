"""The models of kinds.py as MindIR files. Needs the package mindspore."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

Dims = Sequence[int | str]


class Add(nn.Cell):
    def construct(self, a, b):
        return a + b


class Cast(nn.Cell):
    def construct(self, x):
        return ops.cast(x, ms.float32)


class Several(nn.Cell):
    def construct(self, a, b):
        return a + 1, b * 2, ops.reduce_sum(a, 1)


class Scale(nn.Cell):
    def construct(self, x, factor):
        return x * factor


class Lookup(nn.Cell):
    def __init__(self):
        super().__init__()
        self.table = Tensor(np.array([10, 20, 30], np.float32))

    def construct(self, index):
        return ops.gather(self.table, index, 0)


MODULES = {"add": Add, "cast": Cast, "several": Several, "scale": Scale, "lookup": Lookup}


def _inputs(what: str, dims: Dims = ("batch", 2), dtype: str = "float32") -> list[tuple[Dims, str]]:
    inputs: dict[str, list[tuple[Dims, str]]] = {
        "add": [(dims, "float32"), (dims, "float32")],
        "cast": [(("batch", 3), dtype)],
        "several": [(("batch", 2), "float32"), (("batch", 3), "int32")],
        "scale": [(("batch", 2), "float32"), ((2,), "float32")],
        "lookup": [(("batch", 1), "int64")],
    }
    return inputs[what]


def export(path: Path, what: str, **details: Any) -> None:
    given = []
    for dims, dtype in _inputs(what, **details):
        kind = getattr(ms, "bool_" if dtype == "bool" else dtype)
        if any(isinstance(dim, str) for dim in dims):
            given.append(Tensor(shape=[None if isinstance(dim, str) else dim for dim in dims], dtype=kind))
        else:
            given.append(Tensor(np.zeros([int(dim) for dim in dims], dtype)))
    ms.export(MODULES[what](), *given, file_name=str(path), file_format="MINDIR")
