"""Graphs that a runtime's optimisations change: every backend that reads ONNX answers as the operators are defined
(ONNX's own evaluator, in NumPy). Each was wrong, or crashed, or is run by code of ours, in one of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import NodeProto, numpy_helper
from onnx.reference import ReferenceEvaluator
from servoir import backends
from support.kinds import ONNX_BACKENDS
from support.models import onnx_models

node = onnx_models.helper.make_node


@pytest.fixture(params=ONNX_BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def random(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(3).standard_normal(shape).astype(np.float32)


Graph = tuple[Sequence[NodeProto], dict[str, np.ndarray]]
Pair = tuple[int, int]
State = tuple[np.ndarray, ...]  # of a recurrent operator, after a step


def agree(
    backend: str,
    path: Path,
    nodes: Sequence[NodeProto],
    constants: dict[str, np.ndarray],
    *given: np.ndarray,
    same: Graph | None = None,
) -> None:
    """Runs x, … → y; the first dimension of all is the batch. Twice, since a runtime may prepare something at first.

    same: a graph of the same meaning for the evaluator.
    """
    names = ["x", "z"][: len(given)]
    inputs = [
        onnx_models.tensor(name, "float32", ["batch", *value.shape[1:]])
        for name, value in zip(names, given, strict=True)
    ]

    def write(graph: Graph, dims: Sequence[Any] | None) -> str:
        tensors = [numpy_helper.from_array(value, name) for name, value in graph[1].items()]
        output = onnx_models.tensor("y", "float32", dims)
        return onnx_models.save(path / "graph.onnx", graph[0], inputs, [output], tensors)

    file = write(same or (nodes, constants), None)
    (wanted,) = ReferenceEvaluator(file).run(None, dict(zip(names, given, strict=True)))
    file = write((nodes, constants), ["batch", *wanted.shape[1:]])
    subgraph: Any = backends.open_model([file], None, backend, 1, backends.CPU, {}).subgraphs[0]
    for _ in range(2):
        (answer,) = subgraph.execute_copied(list(given))
        assert answer.shape == wanted.shape
        np.testing.assert_allclose(answer, wanted, rtol=1e-4, atol=1e-4)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("channels", [3, 16, 24])
@pytest.mark.parametrize("bias", [(24, 1, 1), (1, 24, 1, 1), (1,), (1, 1, 1, 9)], ids=str)
def test_a_convolution_with_identities_and_an_added_constant(
    backend: str, channels: int, bias: tuple[int, ...], tmp_path: Path
) -> None:
    """As Paddle's exporter writes it. A constant of the last two shapes is no bias."""
    nodes = [
        node("Identity", ["x"], ["x1"]),
        node("Conv", ["x1", "w"], ["a"], pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
        node("Identity", ["a"], ["a1"]),
        node("Add", ["a1", "b"], ["a2"]),
        node("Identity", ["a2"], ["a3"]),
        node("Relu", ["a3"], ["a4"]),
        node("Conv", ["a4", "w1"], ["c"], kernel_shape=[1, 1]),
        node("Add", ["b1", "c"], ["c1"]),
        node("Identity", ["c1"], ["c2"]),
        node("Add", ["a4", "c2"], ["c3"]),
        node("Identity", ["c3"], ["y"]),
    ]
    constants = {
        "w": noise(24, channels, 3, 3),
        "b": noise(*bias),
        "w1": noise(24, 24, 1, 1) / 5,
        "b1": noise(1, 24, 1, 1),
    }
    agree(backend, tmp_path, nodes, constants, noise(2, channels, 7, 9))


def window(kernel: Pair, stride: Pair, pads: tuple[int, ...], dilation: Pair) -> dict[str, Any]:
    return {"kernel_shape": kernel, "strides": stride, "pads": pads, "dilations": dilation}


@pytest.mark.parametrize(
    "window",
    [
        window((2, 2), (1, 1), (0, 0, 0, 0), (1, 1)),
        window((3, 3), (2, 2), (1, 1, 1, 1), (1, 1)),
        window((3, 5), (2, 1), (0, 2, 1, 3), (1, 1)),
        window((3, 3), (1, 2), (2, 1, 2, 1), (2, 1)),
        window((1, 7), (1, 3), (0, 3, 0, 3), (1, 1)),
        window((5, 1), (1, 1), (4, 0, 4, 0), (1, 3)),
        window((3, 3), (1, 1), (1, 1, 1, 1), (1, 1)),
    ],
)
@pytest.mark.parametrize(("channels", "filters"), [(3, 24), (4, 16), (5, 12), (24, 8), (72, 24), (64, 40), (12, 1)])
@pytest.mark.parametrize("width", [6, 31])
def test_a_convolution(
    backend: str, window: dict[str, Any], channels: int, filters: int, width: int, tmp_path: Path
) -> None:
    nodes = [node("Conv", ["x", "w", "b"], ["a"], **window), node("Sigmoid", ["a"], ["y"])]
    weights = noise(filters, channels, *window["kernel_shape"]) / 5
    agree(backend, tmp_path, nodes, {"w": weights, "b": noise(filters)}, noise(2, channels, 6, width))


@pytest.mark.parametrize("activation", ["Relu", "LeakyRelu", "Clip", "Gelu", "HardSwish", "PRelu"])
def test_a_convolution_a_residual_and_an_activation(backend: str, activation: str, tmp_path: Path) -> None:
    constants = {"w": noise(24, 24, 3, 3) / 5, "b": noise(24)}
    last = {
        "LeakyRelu": [node("LeakyRelu", ["c"], ["y"], alpha=0.2)],
        "Clip": [node("Clip", ["c", "low", "high"], ["y"])],
        "PRelu": [node("PRelu", ["c", "slope"], ["y"])],
        "Gelu": [
            node("Div", ["c", "root"], ["d"]),
            node("Erf", ["d"], ["e"]),
            node("Add", ["e", "one"], ["f"]),
            node("Mul", ["c", "f"], ["g"]),
            node("Mul", ["g", "half"], ["y"]),
        ],
    }.get(activation, [node(activation, ["c"], ["y"])])
    scalars = {"low": 0, "high": 6, "root": 2**0.5, "one": 1, "half": 0.5}
    constants |= {name: np.asarray(value, np.float32) for name, value in scalars.items()}
    constants["slope"] = noise(24, 1, 1)
    used = {name for one in last for name in one.input} | {"w", "b"}
    nodes = [
        node("Conv", ["x", "w", "b"], ["a"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("Add", ["x", "a"], ["c"]),
        *last,
    ]
    given = noise(2, 24, 6, 31)
    agree(backend, tmp_path, nodes, {name: value for name, value in constants.items() if name in used}, given)


def test_a_convolution_in_one_dimension(backend: str, tmp_path: Path) -> None:
    nodes = [node("Conv", ["x", "w"], ["a"], kernel_shape=[3], strides=[2], pads=[1, 1]), node("Relu", ["a"], ["y"])]
    agree(backend, tmp_path, nodes, {"w": noise(24, 6, 3)}, noise(2, 6, 40))


def test_an_output_that_is_also_used_inside(backend: str, tmp_path: Path) -> None:
    """What an Identity or an Add gives may be asked for; then it must be there."""
    nodes = [
        node("Conv", ["x", "w"], ["a"], kernel_shape=[1, 1]),
        node("Add", ["a", "b"], ["c"]),
        node("Mul", ["a", "c"], ["d"]),
        node("Identity", ["d"], ["y"]),
    ]
    agree(backend, tmp_path, nodes, {"w": noise(8, 8, 1, 1), "b": noise(1, 8, 1, 1)}, noise(3, 8, 4, 5))


@pytest.mark.parametrize(
    "window",
    [
        window((2, 2), (2, 2), (0, 0, 0, 0), (1, 1)),
        window((3, 3), (2, 2), (1, 1, 1, 1), (1, 1)),
        window((4, 3), (3, 1), (1, 0, 2, 1), (1, 1)),
        window((3, 3), (1, 2), (2, 1, 2, 1), (2, 1)),
        window((1, 5), (1, 4), (0, 0, 0, 0), (1, 2)),
    ],
)
@pytest.mark.parametrize(("channels", "filters", "groups"), [(24, 1, 1), (5, 9, 1), (16, 24, 1), (16, 16, 2)])
def test_a_transposed_convolution(
    backend: str, window: dict[str, Any], channels: int, filters: int, groups: int, tmp_path: Path
) -> None:
    kernel = window["kernel_shape"]
    weights = noise(channels, filters // groups, *kernel)
    nodes = [
        node("ConvTranspose", ["x", "w"], ["a"], group=groups, **window),
        node("Add", ["a", "b"], ["c"]),
        node("Relu", ["c"], ["y"]),
    ]
    # The evaluator does not know groups: one whose weights are 0 between the groups is the same.
    whole = np.zeros((channels, filters, *kernel), np.float32)
    for group in range(groups):
        rows, columns = (slice(group * count // groups, (group + 1) * count // groups) for count in (channels, filters))
        whole[rows, columns] = weights[rows]
    same = [node("ConvTranspose", ["x", "w"], ["a"], **window), *nodes[1:]]
    bias = noise(1, filters, 1, 1)
    agree(
        backend,
        tmp_path,
        nodes,
        {"w": weights, "b": bias},
        noise(2, channels, 6, 21),
        same=(same, {"w": whole, "b": bias}),
    )


@pytest.mark.parametrize("width", [3, 9, 12, 29])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 7])
def test_a_depthwise_convolution(backend: str, kernel: int, stride: int, width: int, tmp_path: Path) -> None:
    pad = kernel // 2
    nodes = [
        node("Conv", ["x", "w", "b"], ["a"], kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4, group=12),
        node("Relu", ["a"], ["y"]),
    ]
    agree(backend, tmp_path, nodes, {"w": noise(12, 1, kernel, kernel), "b": noise(12)}, noise(2, 12, 8, width))


@pytest.mark.parametrize("channels", [8, 16, 40, 64])
@pytest.mark.parametrize("filters", [16, 24, 20])
def test_a_pointwise_convolution(backend: str, channels: int, filters: int, tmp_path: Path) -> None:
    nodes = [node("Conv", ["x", "w"], ["a"], kernel_shape=[1, 1]), node("Relu", ["a"], ["y"])]
    agree(backend, tmp_path, nodes, {"w": noise(filters, channels, 1, 1)}, noise(2, channels, 5, 7))


def test_tanh_of_large_numbers(backend: str, tmp_path: Path) -> None:
    values = np.array([[-1e30, -1000, -90, -45, -9, -1e-3, 0, 1e-3, 1, 9, 45, 90, 1000, 1e30, 2, 3, 4]], np.float32)
    agree(backend, tmp_path, [node("Tanh", ["x"], ["y"])], {}, values)


@pytest.mark.parametrize("bias", [(1, 1, 6), (1, 6), (6,), (1,), (5, 1)], ids=str)
def test_a_product_of_matrices_and_a_constant(backend: str, bias: tuple[int, ...], tmp_path: Path) -> None:
    nodes = [node("MatMul", ["x", "w"], ["a"]), node("Add", ["a", "b"], ["y"])]
    agree(backend, tmp_path, nodes, {"w": noise(4, 6), "b": noise(*bias)}, noise(3, 5, 4))


def test_a_column_of_as_many_constants_as_columns(backend: str, tmp_path: Path) -> None:
    nodes = [node("MatMul", ["x", "w"], ["a"]), node("Add", ["a", "b"], ["y"])]
    agree(backend, tmp_path, nodes, {"w": noise(4, 6), "b": noise(6, 1)}, noise(3, 6, 4))


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("factor", [0.044715, 0.01, None])
def test_something_like_gelu(backend: str, factor: float | None, swapped: bool, tmp_path: Path) -> None:
    """x (1 + tanh(c (x + f x³))) / 2. With another factor, or a factor that is an input, it is not GELU."""

    def mul(a: str, b: str, result: str) -> NodeProto:
        return node("Mul", [b, a] if swapped else [a, b], [result])

    constants = {"c": np.float32(0.7978845608), "one": np.float32(1), "half": np.float32(0.5)}
    given = [noise(3, 16)]
    if factor is None:
        given.append(np.full((3, 1), 0.044715, np.float32) * np.array([[1], [2], [3]], np.float32))
    else:
        constants["z"] = np.float32(factor)
    nodes = [
        node("Mul", ["x", "x"], ["x2"]),
        mul("x", "x2", "x3"),
        mul("z", "x3", "t"),
        node("Add", ["x", "t"], ["u"]),
        mul("c", "u", "v"),
        node("Tanh", ["v"], ["w"]),
        node("Add", ["w", "one"] if swapped else ["one", "w"], ["g"]),
        mul("x", "g", "h"),
        mul("half", "h", "y"),
    ]
    agree(backend, tmp_path, nodes, {name: np.asarray(value) for name, value in constants.items()}, *given)


@pytest.mark.parametrize("operator", ["ReduceMean", "ReduceMax", "ReduceL2"])
@pytest.mark.parametrize("axes", [(1, 3, 4), (1, 2, 4), (1, 2), (4, 2), (1, 2, 3, 4), (2,)], ids=str)
def test_a_reduction(backend: str, operator: str, axes: tuple[int, ...], tmp_path: Path) -> None:
    x = random((2, 4, 3, 5, 3))
    agree(backend, tmp_path, [node(operator, ["x"], ["y"], axes=list(axes))], {}, x)


def test_a_reduction_of_nothing(backend: str, tmp_path: Path) -> None:
    x = np.array([1, 2, 3], np.float32)
    agree(backend, tmp_path, [node("ReduceSum", ["x"], ["y"], noop_with_empty_axes=1)], {}, x)


def test_a_reshape_that_keeps_dimensions_of_another(backend: str, tmp_path: Path) -> None:
    nodes = [node("Reshape", ["x", "groups"], ["t"]), node("Reshape", ["t", "flat"], ["y"])]
    shapes = {"groups": np.array([0, 2, 2, 6]), "flat": np.array([0, 0, -1])}
    agree(backend, tmp_path, nodes, shapes, random((3, 4, 6)))


@pytest.mark.parametrize("shape", [(2, 0), (0, 3), (2, 3)], ids=str)
@pytest.mark.parametrize("dtype", ["bool", "int8", "uint32", "int64", "float16", "float32", "float64"])
def test_shapes_without_elements(backend: str, dtype: str, shape: Pair, tmp_path: Path) -> None:
    ports = [onnx_models.tensor(name, dtype, ["batch", name]) for name in "xy"]
    nodes = [node("Concat", ["x", "x"], ["y"], axis=1)]
    file = onnx_models.save(tmp_path / "m.onnx", nodes, ports[:1], ports[1:])
    subgraph: Any = backends.open_model([file], None, backend, 1, backends.CPU, {}).subgraphs[0]
    x = np.ones(shape, dtype)
    for _ in range(2):
        (answer,) = subgraph.execute_copied([x])
        assert answer.dtype == x.dtype
        assert answer.tolist() == np.concatenate([x, x], axis=1).tolist()
        assert answer.shape == (shape[0], 2 * shape[1])


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize(("operator", "gates"), [("GRU", 3), ("LSTM", 4)])
def test_the_sequence_of_a_recurrent_operator_alone(
    backend: str, operator: str, gates: int, direction: str, tmp_path: Path
) -> None:
    """By the formulas themselves: ONNX's evaluator has one direction only."""
    directions = 2 if direction == "bidirectional" else 1
    x, w, r = random((5, 2, 4)), random((directions, gates * 3, 4)), random((directions, gates * 3, 3))
    file = onnx_models.save(
        tmp_path / "m.onnx",
        [node(operator, ["x", "w", "r"], ["y"], hidden_size=3, direction=direction)],
        [onnx_models.tensor("x", "float32", [5, "batch", 4])],
        [onnx_models.tensor("y", "float32", [5, directions, "batch", 3])],
        [numpy_helper.from_array(value, name) for name, value in (("w", w), ("r", r))],
    )
    subgraph: Any = backends.open_model([file], None, backend, 1, backends.CPU, {}).subgraphs[0]
    step = gru_step if operator == "GRU" else lstm_step
    wanted = np.zeros((5, directions, 2, 3), np.float32)
    for number in range(directions):
        backwards = direction == "reverse" or number == 1
        state: State = (np.zeros((2, 3), np.float32),) * 2
        for time in reversed(range(5)) if backwards else range(5):
            state = step(x[time] @ w[number].T, state, r[number])
            wanted[time, number] = state[0]
    for _ in range(2):
        (answer,) = subgraph.execute_copied([x])
        assert answer.shape == wanted.shape
        np.testing.assert_allclose(answer, wanted, rtol=1e-4, atol=1e-5)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def gru_step(given: np.ndarray, state: State, r: np.ndarray) -> State:
    (h, _), (xz, xr, xh), (rz, rr, rh) = state, np.split(given, 3, axis=1), np.split(r, 3)
    update, reset = sigmoid(xz + h @ rz.T), sigmoid(xr + h @ rr.T)
    return (1 - update) * np.tanh(xh + (reset * h) @ rh.T) + update * h, h


def lstm_step(given: np.ndarray, state: State, r: np.ndarray) -> State:
    h, c = state
    enter, leave, forget, cell = np.split(given + h @ r.T, 4, axis=1)
    c = sigmoid(forget) * c + sigmoid(enter) * np.tanh(cell)
    return sigmoid(leave) * np.tanh(c), c
