"""The models of kinds.py as TorchScript files and programs of torch.export. Needs the package torch."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch


class Add(torch.nn.Module):
    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return a + b


class Cast(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.to(torch.float32)


class Several(torch.nn.Module):
    def forward(self, a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return a + 1, b * 2, a.sum(1)


class Scale(torch.nn.Module):
    def forward(self, x: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
        return x * factor


class Positive(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, x[0] > 0]


class Lookup(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Parameter(torch.tensor([10.0, 20.0, 30.0]), requires_grad=False)

    def forward(self, index: torch.Tensor) -> torch.Tensor:
        return self.table[index]


MODULES = {"add": Add, "cast": Cast, "several": Several, "scale": Scale, "positive": Positive, "lookup": Lookup}
Dims = Sequence[int | str]


def _dims(what: str, dims: Dims = ("batch", 2), dtype: str = "float32") -> list[tuple[str, Dims, str]]:
    """Name, dimensions and type of each input."""
    inputs: dict[str, list[tuple[str, Dims, str]]] = {
        "add": [("a", dims, "float32"), ("b", dims, "float32")],
        "cast": [("x", ("batch", 3), dtype)],
        "several": [("a", ("batch", 2), "float32"), ("b", ("batch", 3), "int32")],
        "scale": [("x", ("batch", 2), "float32"), ("factor", (2,), "float32")],
        "positive": [("x", ("batch", "n"), "float32")],
        "lookup": [("index", ("batch", 1), "int64")],
    }
    return inputs[what]


def _examples(what: str, **details: Any) -> tuple[torch.Tensor, ...]:
    return tuple(
        torch.zeros([3 if isinstance(dim, str) else dim for dim in dims], dtype=getattr(torch, dtype))
        for _, dims, dtype in _dims(what, **details)
    )


def fixed_inputs(what: str, **details: Any) -> list[dict[str, Any]] | None:
    """What must be said of TorchScript's inputs, as the file does not: dimensions that are numbers for the batch."""
    inputs = _dims(what, **details)
    if what == "scale" or isinstance(inputs[0][1][0], str):
        return None
    return [{"name": name, "dtype": dtype, "shape": list(dims)} for name, dims, dtype in inputs]


def trace(path: Path, what: str, **details: Any) -> None:
    with warnings.catch_warnings():  # of what is deprecated
        warnings.simplefilter("ignore")
        torch.jit.trace(MODULES[what](), _examples(what, **details), check_trace=False).save(str(path))


def script(path: Path, what: str, **details: Any) -> None:
    del details
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(MODULES[what]()).save(str(path))


def export(path: Path, what: str, **details: Any) -> None:
    named: dict[str, Any] = {}
    shapes = tuple(
        {place: named.setdefault(dim, torch.export.Dim(dim)) for place, dim in enumerate(dims) if isinstance(dim, str)}
        for _, dims, _ in _dims(what, **details)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(MODULES[what](), _examples(what, **details), dynamic_shapes=shapes)
        torch.export.save(program, str(path))
