"""Writes the model of this example: y = relu(x W1) W2, float32, 784-256-10, fixed weights. Needs the package `onnx`."""

import argparse
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def weights() -> tuple[np.ndarray, np.ndarray]:
    """The same numbers on every machine."""
    rng = np.random.default_rng(0)
    w1 = rng.standard_normal((784, 256)).astype(np.float32) * np.float32(0.05)
    w2 = rng.standard_normal((256, 10)).astype(np.float32) * np.float32(0.05)
    return w1, w2


def build() -> onnx.ModelProto:
    w1, w2 = weights()
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w1"], ["hidden"]),
            helper.make_node("Relu", ["hidden"], ["active"]),
            helper.make_node("MatMul", ["active", "w2"], ["y"]),
        ],
        "mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 784])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 10])],
        [numpy_helper.from_array(w1, "w1"), numpy_helper.from_array(w2, "w2")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    return model


def make(directory: Path) -> Path:
    """Writes DIRECTORY/mlp/1/mlp.onnx."""
    path = directory / "mlp" / "1" / "mlp.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(build(), str(path))
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", nargs="?", type=Path, default=Path(__file__).resolve().parent)
    print(make(parser.parse_args().directory))
