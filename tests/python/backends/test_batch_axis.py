"""The batch dimension is verified when a model is loaded, with every backend: by models that keep to it and others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from servoir import backends
from servoir.servable.declarations import DeclaredModel
from servoir.worker.batch_trial import whole_outputs
from servoir.worker.models import LoadedFiles, max_batch
from support.in_process import InProcess
from support.kinds import ONNX_BACKENDS, PRESENT, Kind
from support.models.onnx_models import save, tensor

each_kind = pytest.mark.parametrize("kind", PRESENT, ids=str)
each_backend = pytest.mark.parametrize("backend", ONNX_BACKENDS)


def constant(name: str, values: Any, dtype: str = "float32") -> onnx.NodeProto:
    array = np.asarray(values, dtype)
    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
    value = helper.make_tensor(name, kind, array.shape, array.ravel().tolist())
    return helper.make_node("Constant", [], [name], value=value)


def opened(path: Path, backend: str, nodes: list[onnx.NodeProto], inputs: list[Any], outputs: list[Any]) -> Any:
    save(path, nodes, inputs, outputs)
    return backends.open_model([str(path)], None, backend, 1, backends.CPU, {}).subgraphs[0]


def declared(**more: Any) -> DeclaredModel:
    return DeclaredModel(("m.onnx",), **more)


@pytest.mark.parametrize(
    ("what", "details"),
    [
        ("add", {}),
        ("add", {"dims": ("batch", "n")}),
        ("add", {"dims": (4, 2)}),
        ("add", {"dims": (1, 2)}),
        ("several", {}),
        ("lookup", {}),
        ("cast", {"dtype": "int8"}),
        ("cast", {"dtype": "bool"}),
        ("cast", {"dtype": "float16"}),
    ],
)
@each_kind
def test_models_that_keep_to_it(kind: Kind, what: str, details: dict[str, Any], tmp_path: Path) -> None:
    assert whole_outputs(declared(), 0, kind.model(tmp_path, what, **details)) == ()


@each_kind
def test_an_input_without_batch_dimension(kind: Kind, tmp_path: Path) -> None:
    made = kind.make(tmp_path, "scale")
    assert whole_outputs(declared(without_batch_dim_inputs=(1,)), 0, kind.open(made)) == ()


WRONG: dict[str, tuple[list[onnx.NodeProto], list[Any], list[Any], str]] = {
    "transposed": (
        [helper.make_node("Transpose", ["x"], ["y"], perm=[1, 0])],
        ["N", 4],
        [4, "N"],
        r"output 0 \('y'\) does not have a row for each instance: its shape is \[4, \?\] in the file, and \[4, 3\]"
        r" and \[4, 2\] for batches of 3 and 2 instances",
    ),
    "transposed with an open length": (
        [helper.make_node("Transpose", ["x"], ["y"], perm=[1, 0, 2])],
        ["N", "T", 2],
        ["T", "N", 2],
        r"\[32, 3, 2\] and \[32, 2, 2\] for batches of 3 and 2",
    ),
    "rows chosen by value": (
        [
            helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1], keepdims=0),
            constant("zero", 0.0),
            helper.make_node("Greater", ["mean", "zero"], ["keep"]),
            helper.make_node("Compress", ["x", "keep"], ["y"], axis=0),
        ],
        ["N", 4],
        ["M", 4],
        r"output 0 \('y'\) does not have a row for each instance",
    ),
    "softmax over the batch": (
        [helper.make_node("Softmax", ["x"], ["y"], axis=0)],
        ["N", 4],
        ["N", 4],
        r"output 0 \('y'\) depends on more than its own instance",
    ),
    "the sum of all": (
        [helper.make_node("ReduceMean", ["x"], ["y"], axes=[0], keepdims=0)],
        ["N", 4],
        [4],
        r"its shape is \[4\] in the file, and \[4\] and \[4\] for batches of 3 and 2",
    ),
    "softmax over a fixed batch": (
        [helper.make_node("Softmax", ["x"], ["y"], axis=0)],
        [4, 4],
        [4, 4],
        r"depends on more than its own instance",
    ),
}


@pytest.mark.parametrize("name", WRONG)
@each_backend
def test_models_that_do_not_are_refused(name: str, backend: str, tmp_path: Path) -> None:
    nodes, given, result, text = WRONG[name]
    try:
        model = opened(
            tmp_path / "m.onnx", backend, nodes, [tensor("x", "float32", given)], [tensor("y", "float32", result)]
        )
    except RuntimeError as error:
        pytest.skip(f"{backend} does not open it: {error}")
    with pytest.raises(RuntimeError, match=text) as caught:
        whole_outputs(declared(), 0, model)
    for remedy in ("with_batch_dim=False", "without_batch_dim_inputs", "without_batch_dim_outputs", "trial=False"):
        assert remedy in str(caught.value)
    assert whole_outputs(declared(trial=False), 0, model) == ()
    assert whole_outputs(declared(with_batch_dim=False), 0, model) == ()


WHOLE: dict[str, tuple[list[onnx.NodeProto], list[int], str, Any]] = {
    "two": ([constant("c", [10, 20])], [2], "float32", [10, 20]),
    "three, as many as the trial's batch has": ([constant("c", [1, 2, 3])], [3], "float32", [1, 2, 3]),
    "one": ([constant("c", [7])], [1], "float32", [7]),
    "many": ([constant("c", np.arange(64))], [64], "float32", list(range(64))),
    "a value": ([constant("c", 3.0)], [], "float32", 3.0),
    "rows": ([constant("c", [[1, 2], [3, 4]])], [2, 2], "float32", [[1, 2], [3, 4]]),
}


@pytest.mark.parametrize("batch", ["N", 4, 2, 1])
@pytest.mark.parametrize("name", WHOLE)
@each_backend
def test_outputs_without_batch_dimension_are_found_and_given_whole(
    name: str, batch: int | str, backend: str, in_process: InProcess, tmp_path: Path
) -> None:
    nodes, dims, dtype, expected = WHOLE[name]
    if batch == 1 and dims == [1]:
        pytest.skip("one row of a batch of one looks the same")
    model = opened(
        tmp_path / "m.onnx",
        backend,
        [constant("one", 1.0), helper.make_node("Add", ["x", "one"], ["y"]), *nodes],
        [tensor("x", "float32", [batch, 3])],
        [tensor("y", "float32", [batch, 3]), tensor("c", dtype, dims)],
    )
    whole = whole_outputs(declared(), 0, model)
    assert whole == (1,)
    serve(in_process, declared(), model, whole)
    check_whole(in_process, expected)


@each_backend
def test_the_shape_of_a_batch_is_given_whole(backend: str, in_process: InProcess, tmp_path: Path) -> None:
    model = opened(
        tmp_path / "m.onnx",
        backend,
        [
            constant("one", 1.0),
            helper.make_node("Add", ["x", "one"], ["y"]),
            helper.make_node("Shape", ["x"], ["c"]),
        ],
        [tensor("x", "float32", ["N", 3])],
        [tensor("y", "float32", ["N", 3]), tensor("c", "int64", [2])],
    )
    whole = whole_outputs(declared(), 0, model)
    assert whole == (1,)
    serve(in_process, declared(), model, whole)
    for rows in (1, 2, 5):
        for answer in in_process.infer("m", [(np.zeros(3, np.float32),)] * rows):
            size, width = answer[1].tolist()
            assert 1 <= size <= rows
            assert width == 3


@each_backend
def test_outputs_are_declared_to_have_no_batch_dimension(backend: str, in_process: InProcess, tmp_path: Path) -> None:
    """Where a trial cannot tell: the file says that the output's first dimension is open."""
    nodes = [constant("one", 1.0), helper.make_node("Add", ["x", "one"], ["y"]), constant("k", [10, 20])]
    nodes.append(helper.make_node("Identity", ["k"], ["c"]))
    model = opened(
        tmp_path / "m.onnx",
        backend,
        nodes,
        [tensor("x", "float32", ["N", 3])],
        [tensor("y", "float32", ["N", 3]), tensor("c", "float32", [2])],
    )
    for trial in (True, False):
        assert whole_outputs(declared(without_batch_dim_outputs=(1,), trial=trial), 0, model) == (1,)
    serve(in_process, declared(without_batch_dim_outputs=(1,)), model, (1,))
    check_whole(in_process, [10, 20])


def serve(in_process: InProcess, model: DeclaredModel, subgraph: Any, whole: Any) -> None:
    in_process.opened("m", LoadedFiles(model, [subgraph], max_batch(model, [subgraph], [whole]), "a backend", [whole]))
    in_process.start()


def check_whole(in_process: InProcess, expected: Any) -> None:
    for rows in (1, 2, 3, 5):
        given = [np.full(3, row, np.float32) for row in range(rows)]
        for x, (y, c) in zip(given, in_process.infer("m", [(x,) for x in given]), strict=True):
            assert y.tolist() == (x + 1).tolist()
            assert c.tolist() == expected


@each_backend
def test_what_is_declared_without_batch_dimension_has_to_be_there(backend: str, tmp_path: Path) -> None:
    model = opened(
        tmp_path / "m.onnx",
        backend,
        [helper.make_node("Neg", ["x"], ["y"])],
        [tensor("x", "float32", ["N", 3])],
        [tensor("y", "float32", ["N", 3])],
    )
    with pytest.raises(RuntimeError, match=r"'without_batch_dim_outputs' of model 'm\.onnx' has 1, but .* 1 outputs"):
        max_batch(declared(without_batch_dim_outputs=(1,)), [model])
