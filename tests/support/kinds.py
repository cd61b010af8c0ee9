"""Backends and the kinds of model files that they run, for the tests that are the same for all.

A *kind* writes the same few models for its backend:

    add        sum = a + b                                  any shape, the first dimension is the batch
    cast       y = float32(x)                               x [batch, 3] of any type
    several    y = a + 1, twice = 2 b, total = sum of a     a float32 [batch, 2], b int32 [batch, 3], total [batch]
    scale      y = x * factor                               x [batch, 2]; factor [2] has no batch dimension
    positive   the columns of x that are positive in row 0  a shape that depends on values
    lookup     y = table[index], a table of 3 rows          an index beyond it is the model's error
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from servoir import backends
from servoir.backends.catalogue import records
from servoir.backends.native import plugin_path

from support.models import class_models, onnx_models

Dims = Sequence[int | str]


@dataclass(frozen=True)
class Made:
    """A model as declare_model() is told of it."""

    path: str = ""
    model_class: type | None = None
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Kind:
    name: str
    backend: str
    make: Callable[..., Made]  # (directory, what, **details)
    package: str | None = None  # that must be there
    # What the backend cannot do, each with the error that it gives.
    refused_dtypes: Mapping[str, str] = field(default_factory=dict)
    tells_types: bool = True  # the file says types, and shapes as they are
    tells_shapes: bool = True
    refuses_index: bool = True  # an index beyond a table is an error, not some value
    no_positive: str | None = None  # why it does not run `positive`: it has no shapes that depend on values
    has_file: bool = True

    def __str__(self) -> str:
        return self.name

    def absent(self) -> str | None:
        """Why it cannot be tested here."""
        if self.package is not None and importlib.util.find_spec(self.package) is None:
            return f"NOTHING OF THE BACKEND {self.backend.upper()} IS TESTED: there is no package {self.package}"
        record = records().get(self.backend)  # the backend `python` has none
        if record and record.kind != "package" and not Path(plugin_path(self.backend)).is_file():
            return f"NOTHING OF THE BACKEND {self.backend.upper()} IS TESTED: this build has no plug-in for it"
        return None

    def open(self, made: Made, threads: int = 1) -> Any:
        if made.model_class is not None:
            opened = backends.open_class(made.model_class, [], threads, backends.CPU, made.options)
        else:
            opened = backends.open_model([made.path], None, self.backend, threads, backends.CPU, made.options)
        assert opened.backend == self.backend
        return opened.subgraphs[0]

    def model(self, directory: Path, what: str, **details: Any) -> Any:
        """The subgraph of one of the models above, opened."""
        return self.open(self.make(directory, what, **details))


def _onnx(directory: Path, what: str, **details: Any) -> Made:
    return Made(getattr(onnx_models, what)(directory / f"{what}.onnx", **details))


def _ir(directory: Path, what: str, **details: Any) -> Made:
    import openvino

    path = directory / f"{what}.xml"
    openvino.save_model(openvino.convert_model(_onnx(directory, what, **details).path), path, compress_to_fp16=False)
    return Made(str(path))


def _traced(directory: Path, what: str, **details: Any) -> Made:
    from support.models import torch_models

    path = directory / f"{what}.pt"
    torch_models.trace(path, what, **details)
    return Made(str(path), options=_described(directory, torch_models.fixed_inputs(what, **details)))


def _scripted(directory: Path, what: str, **details: Any) -> Made:
    from support.models import torch_models

    path = directory / f"{what}.pt"
    torch_models.script(path, what, **details)
    return Made(str(path), options=_described(directory, torch_models.fixed_inputs(what, **details)))


def _described(directory: Path, inputs: list[dict[str, Any]] | None) -> dict[str, str]:
    if inputs is None:
        return {}
    path = directory / "config.json"
    path.write_text(json.dumps({"inputs": inputs}))
    return {"config_file": str(path)}


def _exported(directory: Path, what: str, **details: Any) -> Made:
    from support.models import torch_models

    path = directory / f"{what}.pt2"
    torch_models.export(path, what, **details)
    return Made(str(path))


def _mindir(directory: Path, what: str, **details: Any) -> Made:
    from support.models import mindspore_models

    path = directory / f"{what}.mindir"
    mindspore_models.export(path, what, **details)
    return Made(str(path))


def _class(directory: Path, what: str, **details: Any) -> Made:
    del directory
    return Made(model_class=getattr(class_models, what)(**details))


KINDS = (
    Kind("openvino-onnx", "openvino", _onnx, refuses_index=False),
    Kind("openvino-ir", "openvino", _ir, package="openvino", refuses_index=False),
    Kind("onnxruntime", "onnxruntime", _onnx, package="onnxruntime"),
    Kind("opencv_dnn", "opencv_dnn", _onnx, no_positive="operators that OpenCV DNN does not: Compress"),
    Kind("torchscript-traced", "torch", _traced, package="torch", tells_shapes=False),
    Kind("torchscript-scripted", "torch", _scripted, package="torch", tells_types=False, tells_shapes=False),
    Kind("torch.export", "torch", _exported, package="torch"),
    Kind("mindir", "mindspore", _mindir, package="mindspore"),
    Kind("class", "python", _class, has_file=False),
)
PRESENT = [kind for kind in KINDS if kind.absent() is None]
ABSENT = {kind.backend: kind.absent() for kind in KINDS if kind.absent() is not None}
# Backends that are here and read ONNX files.
ONNX_BACKENDS = [kind.backend for kind in PRESENT if kind.make is _onnx]


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)
