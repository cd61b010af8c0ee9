"""The models of kinds.py as classes for the backend `python`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

TABLE = np.array([10, 20, 30], np.float32)


def _port(name: str, dtype: str, dims: Sequence[int | str]) -> dict[str, Any]:
    return {"name": name, "dtype": dtype, "shape": [-1 if isinstance(dim, str) else dim for dim in dims]}


def _class(inputs: list[dict[str, Any]], outputs: list[dict[str, Any]], function: Any) -> type:
    def execute(self: Any, arrays: list[np.ndarray]) -> list[np.ndarray]:
        del self
        return list(function(*arrays))

    return type("Model", (), {"inputs": inputs, "outputs": outputs, "execute": execute})


def add(dims: Sequence[int | str] = ("batch", 2)) -> type:
    inputs = [_port("a", "float32", dims), _port("b", "float32", dims)]
    return _class(inputs, [_port("sum", "float32", dims)], lambda a, b: [a + b])


def cast(dtype: str) -> type:
    dims: list[int | str] = ["batch", 3]
    return _class([_port("x", dtype, dims)], [_port("y", "float32", dims)], lambda x: [x.astype(np.float32)])


def several() -> type:
    return _class(
        [_port("a", "float32", ["batch", 2]), _port("b", "int32", ["batch", 3])],
        [
            _port("y", "float32", ["batch", 2]),
            _port("twice", "int32", ["batch", 3]),
            _port("total", "float32", ["batch"]),
        ],
        lambda a, b: [a + 1, b * 2, a.sum(1)],
    )


def scale() -> type:
    return _class(
        [_port("x", "float32", ["batch", 2]), _port("factor", "float32", [2])],
        [_port("y", "float32", ["batch", 2])],
        lambda x, factor: [x * factor],
    )


def positive() -> type:
    dims: list[int | str] = ["batch", "n"]
    return _class([_port("x", "float32", dims)], [_port("y", "float32", dims)], lambda x: [x[:, x[0] > 0]])


def lookup() -> type:
    dims: list[int | str] = ["batch", 1]
    return _class([_port("index", "int64", dims)], [_port("y", "float32", dims)], lambda index: [TABLE[index]])
