"""Writes the models of this example: x1 + x2 and x1 - x2, float32, any number of 2x2 instances. Needs `onnx`."""

import argparse
from pathlib import Path

import onnx
from onnx import TensorProto, helper


def build(operator: str, name: str) -> onnx.ModelProto:
    shape = ["batch", 2, 2]
    graph = helper.make_graph(
        [helper.make_node(operator, ["x1", "x2"], ["y"])],
        name,
        [helper.make_tensor_value_info(x, TensorProto.FLOAT, shape) for x in ("x1", "x2")],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    return model


def make(directory: Path) -> Path:
    """Writes DIRECTORY/add_sub/1/tensor_add.onnx and tensor_sub.onnx."""
    version = directory / "add_sub" / "1"
    version.mkdir(parents=True, exist_ok=True)
    for operator, name in (("Add", "tensor_add"), ("Sub", "tensor_sub")):
        onnx.save(build(operator, name), str(version / f"{name}.onnx"))
    return version


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", nargs="?", type=Path, default=Path(__file__).resolve().parent)
    print(make(parser.parse_args().directory))
