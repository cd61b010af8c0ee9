"""Operators on all types: a backend computes what ONNX's own evaluator does, or the table of deviations says otherwise;
and what the table says of a file decides which backend runs it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from servoir import backends
from servoir.backends.deviations import DEVIATIONS, deviations_in
from servoir.backends.model_file import ModelFile
from servoir.backends.onnx_graph import read_graph
from support import ROOT
from support.kinds import ONNX_BACKENDS
from support.models.onnx_models import save, tensor

node = helper.make_node
SIGNED = ("int8", "int16", "int32", "int64")
UNSIGNED = ("uint8", "uint16", "uint32", "uint64")
INTEGERS = SIGNED + UNSIGNED
FLOATS = ("float16", "float32", "float64")
# Operators of x and z, with the types that ONNX has them for; each result has a row for each row of x.
BINARY = {
    **dict.fromkeys(["Add", "Sub", "Mul", "Div", "Max", "Min"], INTEGERS + FLOATS),
    **dict.fromkeys(["Less", "Greater", "Equal"], INTEGERS + FLOATS),
    "Mod": INTEGERS,
    "BitShift": UNSIGNED,
    "Einsum": INTEGERS + FLOATS,
}
UNARY = {
    **dict.fromkeys(["Abs", "Sign"], INTEGERS + FLOATS),
    "Neg": SIGNED + FLOATS,
    "Relu": SIGNED + FLOATS,
    **dict.fromkeys(["Exp", "Sqrt", "Tanh", "Floor", "Round"], FLOATS),
    **dict.fromkeys(["ArgMax", "CumSum", "ReduceMax", "ReduceSum", "Transpose"], ("int32", "int64", *FLOATS)),
}
ATTRIBUTES: dict[str, dict[str, Any]] = {
    "BitShift": {"direction": "RIGHT"},
    "Einsum": {"equation": "ij,ij->i"},
    "ArgMax": {"axis": 1},
    "ReduceMax": {"axes": [1]},
    "Transpose": {"perm": [0, 1]},
}
SECOND = {"CumSum": np.array(1), "ReduceSum": np.array([1])}


def values(dtype: str, kind: str) -> list[np.ndarray]:
    """Of x and z. `kind`: "usual"; "ends", with results beyond the type; "wide", integers of more than 32 bits."""
    info: Any = np.finfo(dtype) if dtype.startswith("float") else np.iinfo(dtype)
    if kind == "ends":
        x, z = [[info.max, info.max - 1, info.min, info.min + 1]], [[2, 3, 2, 3]]
    elif kind == "wide":
        x, z = [[2**31 + 5, 2**32 - 1, 2**31 + 8, 9]], [[2, 7, 10, 4]]
    elif dtype.startswith("u"):
        x, z = [[7, 200, 5, 9], [8, 3, 0, 255]], [[2, 1, 3, 4], [3, 2, 5, 7]]
    elif dtype.startswith("i"):
        x, z = [[7, -7, 5, 9], [-8, 3, 0, -1]], [[2, 2, -3, 4], [3, -2, 5, 7]]
    else:
        x, z = [[7.5, -7.25, 0.5, 9.0], [-1.5, 2.5, 3.25, -0.75]], [[2.0, 2.5, -3.0, 4.0], [1.5, -2.0, 0.5, 3.0]]
    return [np.array(x, dtype), np.array(z, dtype)]


def differences(backend: str, path: Path, operators: Sequence[str], dtype: str, kind: str) -> list[str]:
    """How the backend's results differ; what it does not have for this type is left out."""
    nodes = [
        node(
            name,
            ["x", *(["z"] if name in BINARY else ["i"] if name in SECOND else [])],
            [name],
            **ATTRIBUTES.get(name, {}),
        )
        for name in operators
    ]
    for made in nodes:
        made.input[1:] = [f"i_{made.op_type}" if name == "i" else name for name in made.input[1:]]
    constants = [numpy_helper.from_array(SECOND[name], f"i_{name}") for name in operators if name in SECOND]
    names = ["x", "z"] if any("z" in made.input for made in nodes) else ["x"]
    given = dict(zip(names, values(dtype, kind), strict=False))
    ports = [tensor(name, dtype, ["N", 4]) for name in names]
    file = save(path / "m.onnx", nodes, ports, [tensor(name, dtype, None) for name in operators], constants)
    with np.errstate(all="ignore"):
        results = [np.asarray(result) for result in ReferenceEvaluator(file).run(None, given)]
    outputs = [
        tensor(name, result.dtype.name, ["N", *result.shape[1:]])
        for name, result in zip(operators, results, strict=True)
    ]
    save(path / "m.onnx", nodes, ports, outputs, constants)
    try:
        opened: Any = backends.open_model([file], None, backend, 1, backends.CPU, {}).subgraphs[0]
        answers = opened.execute_copied(list(given.values()))
    except RuntimeError:
        if len(operators) == 1:
            return []
        return [text for name in operators for text in differences(backend, path, [name], dtype, kind)]
    return [
        f"{backend}: {name} of {dtype}, {kind}: {answer.tolist()}, not {wanted.tolist()}"
        for name, answer, wanted in zip(operators, answers, results, strict=True)
        if not alike(answer, wanted)
    ]


def alike(answer: np.ndarray, wanted: np.ndarray) -> bool:
    if wanted.dtype.kind != "f":
        return np.array_equal(answer, wanted)
    tolerance = {"float16": 1e-2, "float32": 1e-5, "float64": 1e-12}[wanted.dtype.name]
    return np.allclose(answer, wanted, rtol=tolerance, atol=tolerance, equal_nan=True)


def known(backend: str, operator: str, dtype: str) -> bool:
    return any(
        one.backend == backend
        and one.where is None
        and one.only is None
        and dtype in one.dtypes
        and (not one.operators or operator in one.operators)
        for one in DEVIATIONS
    )


@pytest.mark.parametrize("dtype", INTEGERS + FLOATS)
@pytest.mark.parametrize("backend", ONNX_BACKENDS)
def test_what_differs_is_in_the_table(backend: str, dtype: str, tmp_path: Path) -> None:
    types = {**BINARY, **UNARY}
    operators = [name for name in types if dtype in types[name] and not known(backend, name, dtype)]
    found = differences(backend, tmp_path, operators, dtype, "usual") if operators else []
    # What lies beyond a type is defined for these only.
    wrapping = [name for name in operators if name in ("Add", "Sub", "Mul")]
    if dtype in ("int8", "uint8") and wrapping:
        found += differences(backend, tmp_path, wrapping, dtype, "ends")
    assert found == []


@pytest.mark.parametrize(
    ("operator", "dtype", "kind"),
    [
        *[("Div", dtype, "usual") for dtype in ("int8", "uint8")],
        *[(operator, "uint8", "ends") for operator in ("Add", "Sub", "Mul")],
        ("BitShift", "uint8", "usual"),
        *[(operator, "float64", "usual") for operator in ("Exp", "Tanh", "Div")],
        *[("Mod", dtype, "wide") for dtype in ("int64", "uint32", "uint64")],
    ],
)
def test_the_table_is_true(operator: str, dtype: str, kind: str, tmp_path: Path) -> None:
    """A deviation that is no more should go from the table."""
    if "openvino" not in ONNX_BACKENDS:
        pytest.skip("there is no OpenVINO")
    assert known("openvino", operator, dtype)
    assert differences("openvino", tmp_path, [operator], dtype, kind)


def test_each_is_documented() -> None:
    text = (ROOT / "docs" / "backends.md").read_text()
    for one in DEVIATIONS:
        operators = ", ".join(f"`{name}`" for name in one.operators) or "all"
        row = f"| `{one.backend}` | {operators} | {', '.join(one.dtypes)} | {one.how} | "
        assert row + ("yes" if one.avoided else "no") in text, row


# ---- which backend runs a file


@functools.cache
def several() -> bool:
    return {"openvino", "onnxruntime"} <= set(ONNX_BACKENDS)


def found_in(path: Path, nodes: Sequence[NodeProto], inputs: Sequence[Any], outputs: Sequence[Any]) -> list[str]:
    graph = read_graph(ModelFile(save(path / "m.onnx", nodes, inputs, outputs)))
    assert graph is not None
    return deviations_in(graph, "openvino")


def test_a_division_of_small_integers_is_run_by_the_next_backend(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    if not several():
        pytest.skip("there is no other backend for ONNX files")
    file = save(
        tmp_path / "m.onnx",
        [node("Div", ["a", "b"], ["q"])],
        [tensor(name, "int8", ["N", 4]) for name in "ab"],
        [tensor("q", "int8", ["N", 4])],
    )
    opened = backends.open_model([file], None, None, 1, backends.CPU, {})
    assert opened.backend == "onnxruntime"
    a, b = np.array([[7, -7, 5, 9]], np.int8), np.array([[2, 2, 3, 4]], np.int8)
    assert opened.subgraphs[0].execute_copied([a, b])[0].tolist() == [[3, -3, 1, 2]]
    (line,) = [line for line in capfd.readouterr().err.splitlines() if "WARNING" in line]
    assert (
        "the model is run by onnxruntime instead, because of: openvino computes otherwise than ONNX says: Div of int8"
        " (rounds to the nearest instead of cutting off)" in line
    )
    assert backends.able_backends([ModelFile(file)], None, None)[1][0] != "openvino"  # the doctor says the same
    assert backends.open_model([file], None, "openvino", 1, backends.CPU, {}).backend == "openvino"


def test_other_files_are_run_by_the_first_backend(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    if not several():
        pytest.skip("there is no other backend for ONNX files")
    file = save(
        tmp_path / "m.onnx",
        [node("Div", ["a", "b"], ["q"])],
        [tensor(name, "float32", ["N", 4]) for name in "ab"],
        [tensor("q", "float32", ["N", 4])],
    )
    assert backends.open_model([file], None, None, 1, backends.CPU, {}).backend == "openvino"
    assert "because of" not in capfd.readouterr().err


def test_what_a_later_backend_computes_otherwise_is_not_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    if not several():
        pytest.skip("there is no other backend for ONNX files")
    file = save(
        tmp_path / "m.onnx",
        [node("GridSample", ["x", "g"], ["y"], mode="bicubic")],
        [tensor("x", "float32", ["N", 1, 4, 4]), tensor("g", "float32", ["N", 2, 2, 2])],
        [tensor("y", "float32", ["N", 1, 2, 2])],
    )
    graph = read_graph(ModelFile(file))
    assert graph is not None
    assert deviations_in(graph, "opencv_dnn")
    opened = backends.open_model([file], None, None, 1, backends.CPU, {})
    assert opened.backend != "opencv_dnn"
    assert "because of: opencv_dnn" not in capfd.readouterr().err


def test_types_inside_of_a_graph_are_followed(tmp_path: Path) -> None:
    x, y = tensor("x", "float32", ["N", 4]), tensor("y", "float32", ["N", 4])
    nodes = [
        node("Constant", [], ["four"], value=helper.make_tensor("v", TensorProto.INT8, [], [4])),
        node("Cast", ["x"], ["a"], to=TensorProto.INT8),
        node("Identity", ["a"], ["b"]),
        node("Div", ["b", "four"], ["q"]),
        node("Cast", ["q"], ["y"], to=TensorProto.FLOAT),
    ]
    (text,) = found_in(tmp_path, nodes, [x], [y])
    assert text.startswith("Div of int8 (rounds")
    nodes[1] = node("Cast", ["x"], ["a"], to=TensorProto.INT32)
    nodes[0] = node("Constant", [], ["four"], value=helper.make_tensor("v", TensorProto.INT32, [], [4]))
    assert found_in(tmp_path, nodes, [x], [y]) == []


def test_branches_are_looked_into(tmp_path: Path) -> None:
    def branch(name: str, operator: str) -> Any:
        return helper.make_graph([node(operator, ["x", "x"], [name])], name, [], [tensor(name, "int8", ["N"])])

    nodes = [node("If", ["c"], ["y"], then_branch=branch("t", "Div"), else_branch=branch("e", "Max"))]
    (text,) = found_in(
        tmp_path, nodes, [tensor("c", "bool", []), tensor("x", "int8", ["N"])], [tensor("y", "int8", ["N"])]
    )
    assert text.startswith("Div of int8")


@pytest.mark.parametrize(("attributes", "concerned"), [({"auto_pad": "SAME_LOWER"}, True), ({}, False)], ids=str)
def test_an_attribute_decides(attributes: dict[str, str], concerned: bool, tmp_path: Path) -> None:
    x = tensor("x", "float32", ["N", 3, 8, 8])
    nodes = [node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], **attributes)]
    graph = read_graph(ModelFile(save(tmp_path / "m.onnx", nodes, [x], [tensor("y", "float32", None)])))
    assert graph is not None
    assert bool(deviations_in(graph, "opencv_dnn")) == concerned


def test_an_attribute_of_several_numbers_may_decide(tmp_path: Path) -> None:
    x, y = tensor("x", "float32", ["N", 3, 8, 8]), tensor("y", "float32", None)
    for stride, count in ((2, 0), (3, 1)):
        nodes = [node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, stride], ceil_mode=1)]
        assert len(found_in(tmp_path, nodes, [x], [y])) == count
    packed = b"\n\x04axes" + b"\x42\x0b\x02" + b"\xff" * 9 + b"\x01" + b"\xa0\x01\x07"  # of another writer: [2, -1]
    graph = read_graph(ModelFile("m.onnx", _graph_of_a_node(b'"\x06Resize*' + bytes([len(packed)]) + packed)))
    assert graph is not None
    assert graph.nodes[0].attributes == {"axes": (2, -1)}


def _graph_of_a_node(content: bytes) -> bytes:
    graph = b"\n" + bytes([len(content)]) + content
    return b":" + bytes([len(graph)]) + graph


def test_whether_an_input_is_a_constant_may_decide(tmp_path: Path) -> None:
    x, y = tensor("x", "float32", ["N", 3]), tensor("y", "float32", None)
    repeats = numpy_helper.from_array(np.array([1, 2]), "r")
    tile = node("Tile", ["x", "r"], ["y"])
    for nodes, inputs, constants, count in (
        ([tile], [x], [repeats], 0),
        ([node("Constant", [], ["r"], value=repeats), tile], [x], [], 0),
        ([tile], [x, tensor("r", "int64", [2])], [], 1),
    ):
        graph = read_graph(ModelFile(save(tmp_path / "m.onnx", nodes, inputs, [y], constants)))
        assert graph is not None
        assert len(deviations_in(graph, "openvino")) == count


def test_what_a_named_backend_computes_otherwise_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    if "openvino" not in ONNX_BACKENDS:
        pytest.skip("there is no OpenVINO")
    ports = [tensor(name, "int8", ["N", 4]) for name in "abq"]
    file = save(tmp_path / "m.onnx", [node("Div", ["a", "b"], ["q"])], ports[:2], ports[2:])
    backends.open_model([file], None, "openvino", 1, backends.CPU, {})
    (line,) = [line for line in capfd.readouterr().err.splitlines() if "WARNING" in line]
    assert "the model is run by openvino all the same, because of: openvino computes otherwise than ONNX says" in line


def test_wide_integers_concern_files_that_hand_them_on(tmp_path: Path) -> None:
    ids, label = tensor("ids", "int64", ["N", 4]), tensor("label", "int64", ["N"])
    table = numpy_helper.from_array(np.ones((9, 3), np.float32), "table")
    path = tmp_path / "m.onnx"
    # An index of a table, and a label: both are small.
    nodes = [
        node("Gather", ["table", "ids"], ["rows"]),
        node("ReduceMax", ["rows"], ["most"], axes=[1], keepdims=0),
        node("ArgMax", ["most"], ["label"], axis=1, keepdims=0),
    ]
    graph = read_graph(ModelFile(save(path, nodes, [ids], [label], [table])))
    assert graph is not None
    assert deviations_in(graph, "openvino") == []
    # Identifiers that are handed back, and hashed.
    text = "computes in int32"
    (found,) = found_in(tmp_path, [node("Transpose", ["ids"], ["y"])], [ids], [tensor("y", "int64", [4, "N"])])
    assert found.startswith(f"the output 'y' of int64, made of an input ({text}")
    size = node("Constant", [], ["size"], value_int=9)
    hashed = [size, node("Mod", ["ids", "size"], ["i"]), node("Gather", ["table", "i"], ["rows"])]
    graph = read_graph(ModelFile(save(path, hashed, [ids], [tensor("rows", "float32", ["N", 4, 3])], [table])))
    assert graph is not None
    (found,) = deviations_in(graph, "openvino")
    assert found.startswith(f"Mod of int64 ({text}")


def test_a_file_that_is_damaged_is_left_to_the_backends(tmp_path: Path) -> None:
    path = Path(save(tmp_path / "m.onnx", [node("Neg", ["x"], ["y"])], [tensor("x", "float32", ["N"])], []))
    content = path.read_bytes()
    for size in range(len(content)):
        read_graph(ModelFile("m.onnx", content[:size]))
    path.write_bytes(b"")
    assert read_graph(ModelFile(str(path))) is None
    assert read_graph(ModelFile(str(tmp_path / "none"))) is None
