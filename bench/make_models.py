"""Writes the servables of the benchmark into a folder: those with Python stages are copied from servables/, those that
only run a model are made here, with their models. Needs the package `onnx`."""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).resolve().parent
MLP_LAYERS = (784, 256, 10)
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


def perceptron(layers: tuple[int, ...], scales: list[float]) -> onnx.ModelProto:
    """y = relu(… relu(x w0) …) wn, the same numbers on every machine."""
    rng = np.random.default_rng(0)
    nodes, weights, value = [], {}, "x"
    for layer, (wide, out) in enumerate(itertools.pairwise(layers)):
        weights[f"w{layer}"] = rng.standard_normal((wide, out)).astype(np.float32) * np.float32(scales[layer])
        last = layer == len(layers) - 2
        nodes.append(helper.make_node("MatMul", [value, f"w{layer}"], ["y" if last else f"a{layer}"]))
        if not last:
            nodes.append(helper.make_node("Relu", [f"a{layer}"], [f"b{layer}"]))
            value = f"b{layer}"
    return model_of(nodes, layers[0], layers[-1], weights)


def mlp() -> onnx.ModelProto:
    return perceptron(MLP_LAYERS, [0.05, 0.05])


def heavy() -> onnx.ModelProto:
    return perceptron(HEAVY_LAYERS, [wide**-0.5 for wide in HEAVY_LAYERS[:-1]])


@dataclass(frozen=True)
class ModelServable:
    """A servable whose method `predict` runs one model."""

    about: str
    model_file: str
    model: Callable[[], onnx.ModelProto]
    max_batch_size: int
    backend: str | None = None  # None: whatever is taken for ONNX

    def config(self) -> str:
        backend = f", backend={json.dumps(self.backend)}" if self.backend else ""
        return f'''"""{self.about}"""

from servoir.server import register

model = register.declare_model("{self.model_file}", "ONNX"{backend}, max_batch_size={self.max_batch_size})


@register.register_method(output_names=["y"])
def predict(x):
    return register.add_stage(model, x, outputs_count=1)
'''


SERVABLES = {
    "w1_native": ModelServable("W1 by a native backend: float32 [16] plus 1.", "add_one.onnx", add_one, 64, "openvino"),
    "w2": ModelServable("W2: a perceptron.", "mlp.onnx", mlp, 32),
}
for _backend in ("openvino", "onnxruntime"):
    SERVABLES[f"w2_{_backend}"] = ModelServable("W2: a perceptron.", "mlp.onnx", mlp, 32, _backend)
    SERVABLES[f"heavy_{_backend}"] = ModelServable("Milliseconds a batch.", "heavy.onnx", heavy, 64, _backend)


TINY = '''"""One of many: y = x + 1."""

import numpy as np
from servoir.server import register


class AddOne:
    inputs = [{"name": "x", "dtype": "float32", "shape": [-1, 16]}]
    outputs = [{"name": "y", "dtype": "float32", "shape": [-1, 16]}]

    def execute(self, inputs):
        return [inputs[0] + np.float32(1)]


model = register.declare_model(backend=AddOne, max_batch_size=64)


@register.register_method(output_names=["y"])
def predict(x):
    return register.add_stage(model, x, outputs_count=1)
'''


def make_many(directory: Path, count: int) -> list[str]:
    """So many servables of one tiny model; their names."""
    shutil.rmtree(directory, ignore_errors=True)
    names = [f"tiny{number}" for number in range(count)]
    for name in names:
        (directory / name / "1").mkdir(parents=True)
        (directory / name / "servable_config.py").write_text(TINY)
    return names


def make(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(HERE / "servables", directory, ignore=shutil.ignore_patterns("__pycache__"))
    for name, servable in SERVABLES.items():
        (directory / name / "1").mkdir(parents=True)
        (directory / name / "servable_config.py").write_text(servable.config())
        onnx.save(servable.model(), str(directory / name / "1" / servable.model_file))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    make(parser.parse_args().directory)
