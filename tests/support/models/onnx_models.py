"""Small ONNX models, written by the tests that need them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

Dims = Sequence[int | str | None]


def tensor(name: str, dtype: str, dims: Dims | None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), dims)


def save(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    constants: Sequence[onnx.TensorProto] = (),
) -> str:
    graph = helper.make_graph(list(nodes), "test", list(inputs), list(outputs), list(constants))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return str(path)


def add(path: Path, dims: Dims = ("batch", 2)) -> str:
    """sum = a + b, float32."""
    return save(
        path,
        [helper.make_node("Add", ["a", "b"], ["sum"])],
        [tensor("a", "float32", dims), tensor("b", "float32", dims)],
        [tensor("sum", "float32", dims)],
    )


def cast(path: Path, dtype: str) -> str:
    """y = float32(x)."""
    return save(
        path,
        [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)],
        [tensor("x", dtype, ["batch", 3])],
        [tensor("y", "float32", ["batch", 3])],
    )


def several(path: Path) -> str:
    """y = a + 1 (float32), twice = 2 b (int32), total = the sum of a's row."""
    return save(
        path,
        [
            helper.make_node("Constant", [], ["one"], value=helper.make_tensor("o", TensorProto.FLOAT, [], [1.0])),
            helper.make_node("Constant", [], ["two"], value=helper.make_tensor("t", TensorProto.INT32, [], [2])),
            helper.make_node("Constant", [], ["axes"], value=helper.make_tensor("x", TensorProto.INT64, [1], [1])),
            helper.make_node("Add", ["a", "one"], ["y"]),
            helper.make_node("Mul", ["b", "two"], ["twice"]),
            helper.make_node("ReduceSum", ["a", "axes"], ["total"], keepdims=0),
        ],
        [tensor("a", "float32", ["batch", 2]), tensor("b", "int32", ["batch", 3])],
        [
            tensor("y", "float32", ["batch", 2]),
            tensor("twice", "int32", ["batch", 3]),
            tensor("total", "float32", ["batch"]),
        ],
    )


def scale(path: Path) -> str:
    """y = x * factor, of which factor has no batch dimension."""
    return save(
        path,
        [helper.make_node("Mul", ["x", "factor"], ["y"])],
        [tensor("x", "float32", ["batch", 2]), tensor("factor", "float32", [2])],
        [tensor("y", "float32", ["batch", 2])],
    )


def positive(path: Path) -> str:
    """Columns of x that are positive in row 0: an output whose shape depends on the values."""
    return save(
        path,
        [
            helper.make_node("ReduceMax", ["x"], ["top"], axes=[0], keepdims=0),
            helper.make_node("Constant", [], ["zero"], value=helper.make_tensor("z", TensorProto.FLOAT, [], [0.0])),
            helper.make_node("Greater", ["top", "zero"], ["mask"]),
            helper.make_node("Compress", ["x", "mask"], ["y"], axis=1),
        ],
        [tensor("x", "float32", ["batch", "n"])],
        [tensor("y", "float32", ["batch", None])],
    )


def lookup(path: Path) -> str:
    """y = table[index], with a table of three rows: an index beyond it is the model's error."""
    table = helper.make_tensor("table", TensorProto.FLOAT, [3], [10.0, 20.0, 30.0])
    return save(
        path,
        [helper.make_node("Constant", [], ["t"], value=table), helper.make_node("Gather", ["t", "index"], ["y"])],
        [tensor("index", "int64", ["batch", 1])],
        [tensor("y", "float32", ["batch", 1])],
    )


def classifier(path: Path) -> str:
    """As scikit-learn's converter writes them: label, int64 [batch]; scores, float32 [batch, 2]; and probabilities, a
    sequence of maps from labels to floats. The label is the index of the larger of the two numbers of x."""
    domain = "ai.onnx.ml"
    weights: dict[str, Any] = {
        "coefficients": [1.0, -1.0, -1.0, 1.0],
        "intercepts": [0.0, 0.0],
        "classlabels_ints": [0, 1],
    }
    nodes = [
        helper.make_node("LinearClassifier", ["x"], ["label", "scores"], domain=domain, **weights),
        helper.make_node("ZipMap", ["scores"], ["probabilities"], domain=domain, classlabels_int64s=[0, 1]),
    ]
    number = helper.make_tensor_type_proto(TensorProto.FLOAT, [])
    maps = helper.make_sequence_type_proto(helper.make_map_type_proto(TensorProto.INT64, number))
    outputs = [
        tensor("label", "int64", ["batch"]),
        helper.make_value_info("probabilities", maps),
        tensor("scores", "float32", ["batch", 2]),
    ]
    graph = helper.make_graph(nodes, "test", [tensor("x", "float32", ["batch", 2])], outputs)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(domain, 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return str(path)


def bfloat16(path: Path) -> str:
    """half = x / 2 and third = x / 3, of which x and third are bfloat16, and half is float32; all [batch, 3]."""
    nodes = [
        helper.make_node("Cast", ["x"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["wide", "two"], ["half"]),
        helper.make_node("Div", ["wide", "three"], ["quotient"]),
        helper.make_node("Cast", ["quotient"], ["third"], to=TensorProto.BFLOAT16),
    ]
    value = helper.make_tensor_value_info
    constants = [helper.make_tensor(name, TensorProto.FLOAT, [], [n]) for name, n in (("two", 2.0), ("three", 3.0))]
    inputs = [value("x", TensorProto.BFLOAT16, ["batch", 3])]
    outputs = [tensor("half", "float32", ["batch", 3]), value("third", TensorProto.BFLOAT16, ["batch", 3])]
    return save(path, nodes, inputs, outputs, constants)
