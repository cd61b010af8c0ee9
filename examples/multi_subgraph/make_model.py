"""Writes the models of this example: two graphs that belong together. Needs the package `onnx`.

encode.onnx   history [batch, 32] ─▶ state [batch, 4]: the last four values
step.onnx     state [batch, 4] ─▶ value [batch], next state [batch, 4]: value = state · coefficients

The coefficients are those of the recurrence that every sum of two waves with the periods 12 and 5 fulfils, whatever
their heights and phases are.
"""

import argparse
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

PERIODS = (12, 5)
HISTORY = 32
STATE = 4


def coefficients() -> np.ndarray:
    """c with x[t] = c[0] x[t-4] + … + c[3] x[t-1]."""
    waves = [np.array([1.0, -2 * np.cos(2 * np.pi / period), 1.0]) for period in PERIODS]
    return -np.convolve(*waves)[:0:-1]


def save(path: Path, nodes: list, inputs: list, outputs: list, constants: dict) -> None:
    graph = helper.make_graph(
        nodes,
        path.stem,
        inputs,
        outputs,
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def vector(name: str, *dims: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *dims])


def make(directory: Path) -> Path:
    """Writes DIRECTORY/forecast/1/encode.onnx and step.onnx."""
    version = directory / "forecast" / "1"
    version.mkdir(parents=True, exist_ok=True)
    column = coefficients().astype(np.float32).reshape(STATE, 1)
    slices = {"one": np.array([1]), "end": np.array([HISTORY])}
    save(
        version / "encode.onnx",
        [helper.make_node("Slice", ["history", "start", "end", "one"], ["state"])],
        [vector("history", HISTORY)],
        [vector("state", STATE)],
        {"start": np.array([HISTORY - STATE]), **slices},
    )
    save(
        version / "step.onnx",
        [
            helper.make_node("MatMul", ["state", "c"], ["next"]),
            helper.make_node("Squeeze", ["next", "one"], ["value"]),
            helper.make_node("Slice", ["state", "one", "end", "one"], ["later"]),
            helper.make_node("Concat", ["later", "next"], ["new_state"], axis=1),
        ],
        [vector("state", STATE)],
        [vector("value"), vector("new_state", STATE)],
        {"c": column, **slices},
    )
    return version


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", nargs="?", type=Path, default=Path(__file__).resolve().parent)
    print(make(parser.parse_args().directory))
