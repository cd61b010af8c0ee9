"""Writes the model of this example: y = x1 + x2, float32, any number of 2x2 instances. Needs the package `onnx`."""

import argparse
from pathlib import Path

import onnx
from onnx import TensorProto, helper


def make(directory: Path) -> Path:
    """Writes DIRECTORY/add/1/tensor_add.onnx."""
    shape = ["batch", 2, 2]
    graph = helper.make_graph(
        [helper.make_node("Add", ["x1", "x2"], ["y"])],
        "tensor_add",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x1", "x2")],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    path = directory / "add" / "1" / "tensor_add.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", nargs="?", type=Path, default=Path(__file__).resolve().parent)
    print(make(parser.parse_args().directory))
