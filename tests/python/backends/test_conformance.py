"""What every backend must do, for each that is here. support/kinds.py says what they are and what they cannot do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from servoir import backends
from servoir.backends.catalogue import records
from servoir.backends.file_format import file_format
from servoir.backends.model_file import ModelFile
from servoir.dtypes import DTYPES
from support.in_process import InProcess
from support.kinds import ABSENT, KINDS, PRESENT, Kind, ones

WITH_FILES = [kind for kind in PRESENT if kind.has_file]


each_kind = pytest.mark.parametrize("kind", PRESENT, ids=str)


each_file = pytest.mark.parametrize("kind", WITH_FILES, ids=str)


@pytest.mark.parametrize("backend", sorted({kind.backend for kind in KINDS}))
def test_the_backend_is_here(backend: str) -> None:
    """The one skip for all tests of an absent backend."""
    if backend in ABSENT:
        pytest.skip(str(ABSENT[backend]))
    assert backend == "python" or backend in backends.backend_names()


def shapes(ports: list[dict[str, Any]]) -> list[Any]:
    return [port["shape"] for port in ports]


# ---- types and shapes


@pytest.mark.parametrize("dtype", DTYPES)
@each_kind
def test_types(kind: Kind, dtype: str, tmp_path: Path) -> None:
    if dtype in kind.refused_dtypes:
        with pytest.raises(RuntimeError, match=kind.refused_dtypes[dtype]):
            kind.model(tmp_path, "cast", dtype=dtype)
        return
    subgraph = kind.model(tmp_path, "cast", dtype=dtype)
    assert subgraph.inputs[0]["name"] == "x"
    if kind.tells_types:
        assert subgraph.inputs[0]["dtype"] == dtype
        assert subgraph.outputs[0]["dtype"] == "float32"
    if kind.tells_shapes:
        assert shapes(subgraph.inputs) == [[-1, 3]]
    value = np.array([[1, 0, 1], [0, 1, 1]]).astype(dtype)
    (answer,) = subgraph.execute_copied([value])
    assert answer.dtype == np.float32
    assert answer.tolist() == value.astype(np.float32).tolist()


@pytest.mark.parametrize("dtype", DTYPES)
@each_kind
def test_types_in_a_lane(kind: Kind, dtype: str, in_process: InProcess, tmp_path: Path) -> None:
    if dtype in kind.refused_dtypes:
        return
    in_process.model("cast", kind.model(tmp_path, "cast", dtype=dtype))
    in_process.start()
    given = [(np.array(values).astype(dtype),) for values in ([1, 0, 1], [0, 1, 1], [0, 0, 0])]
    for _ in range(3):
        answers = in_process.infer("cast", given)
        assert [answer[0].tolist() for answer in answers] == [one.astype(np.float32).tolist() for (one,) in given]
        assert {answer[0].dtype.name for answer in answers} == {"float32"}


@pytest.mark.parametrize("count", [1, 3, 10])
@pytest.mark.parametrize("dims", [("batch", 2), (4, 2)])
@each_kind
def test_dynamic_and_fixed_batch(
    kind: Kind, dims: tuple[int | str, int], count: int, in_process: InProcess, tmp_path: Path
) -> None:
    subgraph = kind.model(tmp_path, "add", dims=dims)
    fixed = backends.batch_size(subgraph)
    assert fixed == (4 if dims[0] == 4 else None)
    in_process.model("add", subgraph, max_batch=fixed or 8)
    in_process.start()
    instances = [(np.full(2, n, np.float32), np.array([1, 10], np.float32)) for n in range(count)]
    for _ in range(3):
        answers = in_process.infer("add", instances)
        assert [answer[0].tolist() for answer in answers] == [[n + 1, n + 10] for n in range(count)]


@each_kind
def test_several_inputs_and_outputs(kind: Kind, in_process: InProcess, tmp_path: Path) -> None:
    subgraph = kind.model(tmp_path, "several")
    assert [port["name"] for port in subgraph.inputs] == ["a", "b"]
    if kind.tells_types:
        assert [port["dtype"] for port in subgraph.inputs] == ["float32", "int32"]
        assert [port["dtype"] for port in subgraph.outputs] == ["float32", "int32", "float32"]
    in_process.model("several", subgraph, max_batch=4)
    in_process.start()
    given = [(np.array([n, 2], np.float32), np.array([n, 1, -n], np.int32)) for n in range(10)]
    for _ in range(3):
        answers = in_process.infer("several", given)
        for n, (y, twice, total) in enumerate(answers):
            assert (y.tolist(), y.dtype) == ([n + 1, 3], np.float32)
            assert (twice.tolist(), twice.dtype) == ([2 * n, 2, -2 * n], np.int32)
            assert (total.tolist(), total.shape, total.dtype) == (n + 2, (), np.float32)


@each_kind
def test_an_input_without_batch_dimension(kind: Kind, in_process: InProcess, tmp_path: Path) -> None:
    in_process.model("scale", kind.model(tmp_path, "scale"), unbatched=(1,))
    in_process.start()
    value, factor = np.array([1, 2], np.float32), np.array([3, 5], np.float32)
    assert [answer[0].tolist() for answer in in_process.infer("scale", [(value, factor)] * 4)] == [[3, 10]] * 4


@each_kind
def test_a_model_without_batch_dimension(kind: Kind, in_process: InProcess, tmp_path: Path) -> None:
    in_process.model("add", kind.model(tmp_path, "add", dims=(2, 2)), max_batch=1, with_batch_dim=False)
    in_process.start()
    value = np.arange(4, dtype=np.float32).reshape(2, 2)
    answers = in_process.infer("add", [(value, value)] * 3)
    assert [answer[0].tolist() for answer in answers] == [[[0, 2], [4, 6]]] * 3


@each_kind
def test_tensors_without_elements(kind: Kind, in_process: InProcess, tmp_path: Path) -> None:
    in_process.model("add", kind.model(tmp_path, "add", dims=("batch", "n")))
    in_process.start()
    nothing, something = np.zeros(0, np.float32), ones(3)
    for _ in range(3):
        answers = in_process.infer("add", [(nothing, nothing), (something, something), (nothing, nothing)])
        assert [(answer[0].shape, answer[0].dtype.name) for answer in answers] == [
            ((0,), "float32"),
            ((3,), "float32"),
            ((0,), "float32"),
        ]


@each_kind
def test_shapes_that_change_from_request_to_request(kind: Kind, in_process: InProcess, tmp_path: Path) -> None:
    in_process.model("add", kind.model(tmp_path, "add", dims=("batch", "n")))
    in_process.start()
    for length in (1, 7, 2, 1, 50_000, 7, 3):
        values = np.arange(length, dtype=np.float32)
        for answer in in_process.infer("add", [(values, values)] * 3):
            assert np.array_equal(answer[0], 2 * values)


@pytest.mark.parametrize("kind", [kind for kind in PRESENT if kind.backend != "mindspore"], ids=str)
def test_output_shapes_that_depend_on_values(kind: Kind, in_process: InProcess, tmp_path: Path) -> None:
    if kind.no_positive is not None:
        with pytest.raises(RuntimeError, match=kind.no_positive):
            kind.model(tmp_path, "positive")
        return
    in_process.model("positive", kind.model(tmp_path, "positive"), max_batch=1)
    in_process.start()
    given = [[1, 0, 2], [0, 0, 3], [1, 2, 3], [1, 2], [0, 1], [5, 0, 0], [0, 0, 0], [1, 0, 2], [1, 2, 3]]
    for _ in range(3):
        for values in given:
            (answer,) = in_process.infer("positive", [(np.array(values, np.float32),)])
            assert answer[0].tolist() == [value for value in values if value > 0]


@each_kind
def test_large_batches(kind: Kind, in_process: InProcess, tmp_path: Path) -> None:
    in_process.model("add", kind.model(tmp_path, "add", dims=("batch", 30_000)), max_batch=4)
    in_process.start()
    values = [np.full(30_000, n, np.float32) for n in range(10)]
    for _ in range(3):
        answers = in_process.infer("add", [(value, value) for value in values])
        assert [(answer[0][0], answer[0][-1]) for answer in answers] == [(2 * n, 2 * n) for n in range(10)]


@each_kind
def test_answers_are_the_same_alone_and_in_a_batch(kind: Kind, in_process: InProcess, tmp_path: Path) -> None:
    in_process.model("add", kind.model(tmp_path, "add"), max_batch=16)
    in_process.start()
    rng = np.random.default_rng(0)
    given = [(rng.random(2, np.float32), rng.random(2, np.float32)) for _ in range(40)]
    together = in_process.infer("add", given)
    alone = [in_process.infer("add", [one])[0] for one in given]
    assert [one[0].tobytes() for one in together] == [one[0].tobytes() for one in alone]


@each_kind
def test_inputs_are_not_changed(kind: Kind, in_process: InProcess, tmp_path: Path) -> None:
    """Two stages may read one value where it lies."""
    in_process.model("add", kind.model(tmp_path, "add"))
    in_process.function(same, inputs=1)
    in_process.start()
    value = np.array([1, 2], np.float32)
    for _ in range(3):
        assert [answer[0].tolist() for answer in in_process.infer("add", [(value, value)] * 3)] == [[2, 4]] * 3
    assert value.tolist() == [1, 2]


def same(x: np.ndarray) -> np.ndarray:
    return x


# ---- errors


@each_kind
def test_instances_of_other_types_and_shapes_are_refused(kind: Kind, in_process: InProcess, tmp_path: Path) -> None:
    in_process.model("add", kind.model(tmp_path, "add"))
    in_process.start()
    good = np.array([1, 2], np.float32)
    answers = in_process.infer("add", [(good, good), (good, good[:1].repeat(3)), ("text", "text"), (good, good)])
    assert [answers[0][0].tolist(), answers[3][0].tolist()] == [[2, 4], [2, 4]]
    assert [type(answer) for answer in answers[1:3]] == [str, str]
    if kind.tells_types:
        wrong = in_process.infer("add", [(good, good), (good.astype(int), good)])
        assert wrong[0][0].tolist() == [2, 4]
        assert "'a' of the model has to be float32" in wrong[1]
    if kind.tells_shapes:
        for bad in (ones(1), ones(3)):
            assert "given float32" in in_process.infer("add", [(good, good), (bad, good)])[1]
        # The size in bytes decides, where the model has but one shape.
        assert in_process.infer("add", [(good.reshape(2, 1), good)])[0][0].tolist() == [2, 4]
    assert in_process.infer("add", [(good, good)])[0][0].tolist() == [2, 4]


@pytest.mark.parametrize("kind", [kind for kind in PRESENT if kind.refuses_index], ids=str)
def test_only_the_guilty_instance_fails(kind: Kind, in_process: InProcess, tmp_path: Path) -> None:
    in_process.model("lookup", kind.model(tmp_path, "lookup"))
    in_process.start()
    for _ in range(3):
        answers = in_process.infer("lookup", [(np.array([index]),) for index in (0, 7, 2)])
        assert [answers[0][0].tolist(), answers[2][0].tolist()] == [[10], [30]]
        assert "Call Model 'lookup' Failed" in answers[1]


@each_file
def test_a_file_that_is_truncated(kind: Kind, tmp_path: Path) -> None:
    made = kind.make(tmp_path, "several")
    path = Path(made.path)
    whole = path.read_bytes()
    for length in (len(whole) - 1, len(whole) - 20, len(whole) * 9 // 10, len(whole) // 2, 30, 5):
        path.write_bytes(whole[:length])
        if path.suffix == ".xml" and length == len(whole) - 1:
            continue  # without the line's end it is the same
        with pytest.raises(RuntimeError, match=path.name):
            kind.open(made)
    path.write_bytes(whole)
    kind.open(made)


@each_file
def test_a_file_that_is_empty(kind: Kind, tmp_path: Path) -> None:
    made = kind.make(tmp_path, "add")
    Path(made.path).write_bytes(b"")
    with pytest.raises(RuntimeError, match=f"{Path(made.path).name}' is empty"):
        kind.open(made)


OTHERS = {
    "onnx": b"\x08\x08\x12\x04test\x3a\x00",
    "openvino": b'<?xml version="1.0"?>\n<net name="x" version="11"></net>',
    "mindir": b"\x0a\x050.1.0\x12\x09MindSpore",
}


@each_file
def test_a_file_of_another_format(kind: Kind, tmp_path: Path) -> None:
    made = kind.make(tmp_path, "add")
    path = Path(made.path)
    right = file_format(ModelFile(made.path))
    for name, content in OTHERS.items():
        if name in records()[kind.backend].formats:
            continue
        path.write_bytes(content)
        with pytest.raises(RuntimeError, match=f"no backend runs the format {name}: {kind.backend} "):
            kind.open(made)
        # And where the declaration says it is of the right format:
        with pytest.raises(RuntimeError, match=path.name):
            backends.open_model([made.path], right, kind.backend, 1, backends.CPU, made.options)
    path.write_bytes(b"\x89PNG\r\n\x1a\n and so on")
    if path.suffix != ".onnx":  # by which such a file may be ONNX, of which the backend then says what it is
        with pytest.raises(RuntimeError, match=r"the format of the model file .* is unknown"):
            kind.open(made)
    with pytest.raises(RuntimeError, match=path.name):
        backends.open_model([made.path], right, kind.backend, 1, backends.CPU, made.options)


@each_file
def test_a_file_that_cannot_be_read(kind: Kind, tmp_path: Path) -> None:
    made = kind.make(tmp_path, "add")
    Path(made.path).unlink()
    with pytest.raises(RuntimeError, match="cannot be read: No such file"):
        kind.open(made)
