"""The models of the servable `staged`: sums, in every way of having or not having a batch dimension."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx
from onnx import TensorProto, helper

Port = tuple[str, Sequence[int | str]]


def _write(path: Path, nodes: Sequence[onnx.NodeProto], inputs: Sequence[Port], outputs: Sequence[Port]) -> None:
    def infos(ports: Sequence[Port]) -> list[onnx.ValueInfoProto]:
        return [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in ports]

    graph = helper.make_graph(list(nodes), path.stem, infos(inputs), infos(outputs))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def add(path: Path, dims: Sequence[int | str]) -> None:
    """y = a + b."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, [helper.make_node("Add", ["a", "b"], ["y"])], [("a", dims), ("b", dims)], [("y", dims)])


def make(servable: Path) -> None:
    folder = servable / "1"
    add(folder / "pairs.onnx", (2, 2))
    add(folder / "fives.onnx", (5, 2))
    # Multiplies each instance by a factor that all instances of a run have in common.
    _write(
        folder / "scaled.onnx",
        [helper.make_node("Mul", ["x", "factor"], ["y"])],
        [("x", ("batch", 3)), ("factor", (1,))],
        [("y", ("batch", 3))],
    )
    add(folder / "whole.onnx", (2, 3))
    # Two subgraphs with different inputs and outputs.
    _write(
        folder / "negate.onnx", [helper.make_node("Neg", ["x"], ["y"])], [("x", ("batch", 2))], [("y", ("batch", 2))]
    )
    _write(
        folder / "both.onnx",
        [helper.make_node("Add", ["a", "b"], ["sum"]), helper.make_node("Sub", ["a", "b"], ["difference"])],
        [("a", ("batch", 2)), ("b", ("batch", 2))],
        [("sum", ("batch", 2)), ("difference", ("batch", 2))],
    )
