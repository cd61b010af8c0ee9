"""The models of the servable `exact`: y = x W and total = sum of y, with small integers as weights."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WEIGHTS = np.random.default_rng(3).integers(-8, 9, (16, 24)).astype(np.float32)


def expected(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For one instance or for rows; exact for integers up to some thousands."""
    y = (x.astype(np.float64) @ WEIGHTS).astype(np.float32)
    return y, y.sum(axis=-1, dtype=np.float64).astype(np.float32)


def write(path: Path, batch: int | str) -> None:
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["y"]),
            helper.make_node("ReduceSum", ["y", "axes"], ["total"], keepdims=0),
        ],
        "exact",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 16])],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 24]),
            helper.make_tensor_value_info("total", TensorProto.FLOAT, [batch]),
        ],
        [numpy_helper.from_array(WEIGHTS, "w"), numpy_helper.from_array(np.array([1], np.int64), "axes")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))


def make(servable: Path) -> None:
    write(servable / "1" / "dynamic.onnx", "batch")
    write(servable / "1" / "fixed.onnx", 4)
