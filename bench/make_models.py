"""Copies the servables of the benchmark into a folder and writes their models there. Needs the package `onnx`."""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).resolve().parent
HEAVY_LAYERS = (64, 2048, 2048, 2048, 2048, 2048, 16)


def model_of(nodes: list[onnx.NodeProto], width: int, out: int, weights: dict[str, np.ndarray]) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "bench",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", out])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    return model


def add_one() -> onnx.ModelProto:
    return model_of([helper.make_node("Add", ["x", "one"], ["y"])], 16, 16, {"one": np.ones(1, np.float32)})


def heavy() -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    nodes, weights, value = [], {}, "x"
    for layer, (wide, out) in enumerate(itertools.pairwise(HEAVY_LAYERS)):
        weights[f"w{layer}"] = rng.standard_normal((wide, out)).astype(np.float32) / np.float32(np.sqrt(wide))
        last = layer == len(HEAVY_LAYERS) - 2
        nodes.append(helper.make_node("MatMul", [value, f"w{layer}"], ["y" if last else f"a{layer}"]))
        if not last:
            nodes.append(helper.make_node("Relu", [f"a{layer}"], [f"b{layer}"]))
            value = f"b{layer}"
    return model_of(nodes, HEAVY_LAYERS[0], HEAVY_LAYERS[-1], weights)


def mlp() -> onnx.ModelProto:
    path = HERE.parent / "examples" / "mlp" / "make_model.py"
    spec = importlib.util.spec_from_file_location("mlp_make_model", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    built: onnx.ModelProto = module.build()
    return built


def make(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(HERE / "servables", directory, ignore=shutil.ignore_patterns("__pycache__"))
    files = {
        "w1_native/1/add_one.onnx": add_one(),
        "w2/1/mlp.onnx": mlp(),
        "w2_openvino/1/mlp.onnx": mlp(),
        "w2_onnxruntime/1/mlp.onnx": mlp(),
        "heavy_openvino/1/heavy.onnx": heavy(),
        "heavy_onnxruntime/1/heavy.onnx": heavy(),
    }
    for name, model in files.items():
        (directory / name).parent.mkdir(exist_ok=True)
        onnx.save(model, str(directory / name))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    make(parser.parse_args().directory)
