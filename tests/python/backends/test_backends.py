"""Backends that run ONNX files: what they tell of inputs and outputs, and what they answer in a model lane."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_models
import pytest
from servoir import backends
from servoir.backends.native import plugin_path

if TYPE_CHECKING:
    from in_process import InProcess

BACKENDS = ("openvino", "onnxruntime", "opencv_dnn")
DTYPES = ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
DTYPES += ["float16", "float32", "float64"]


def open_one(path: str, backend: str, threads: int = 1, **options: str) -> Any:
    return backends.open_model([path], None, backend, threads, None, options).subgraphs[0]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    if name == "opencv_dnn" and not Path(plugin_path(name)).is_file():
        pytest.skip("the embedded backend is not in this build (build.sh -e cpu)")
    return name


@pytest.mark.parametrize("dtype", DTYPES)
def test_types(backend: str, dtype: str, tmp_path: Path) -> None:
    subgraph = open_one(onnx_models.cast(tmp_path / "cast.onnx", dtype), backend)
    assert subgraph.inputs == [{"name": "x", "dtype": dtype, "shape": [-1, 3]}]
    assert subgraph.outputs == [{"name": "y", "dtype": "float32", "shape": [-1, 3]}]
    value = np.array([[1, 0, 1], [0, 1, 1]]).astype(dtype)
    assert subgraph.execute_copied([value])[0].tolist() == value.astype(np.float32).tolist()


@pytest.mark.parametrize("count", [1, 3, 10])
@pytest.mark.parametrize("dims", [("batch", 2), (4, 2)])
def test_dynamic_and_fixed_batch(
    backend: str, dims: tuple[int | str, int], count: int, in_process: InProcess, tmp_path: Path
) -> None:
    subgraph = open_one(onnx_models.add(tmp_path / "add.onnx", dims), backend)
    fixed = backends.batch_size(subgraph)
    assert fixed == (4 if dims[0] == 4 else None)
    in_process.model("add", subgraph, max_batch=fixed or 8)
    in_process.start()
    instances = [(np.full(2, n, np.float32), np.array([1, 10], np.float32)) for n in range(count)]
    for _ in range(3):
        answers = in_process.infer("add", instances)
        assert [answer[0].tolist() for answer in answers] == [[n + 1, n + 10] for n in range(count)]


def test_an_instance_is_checked_by_type_and_bytes(backend: str, in_process: InProcess, tmp_path: Path) -> None:
    in_process.model("add", open_one(onnx_models.add(tmp_path / "add.onnx"), backend))
    in_process.start()
    good = np.array([1, 2], np.float32)
    answers = in_process.infer(
        "add", [(good, good), (good.reshape(2, 1), good), (good[:1], good), (good.astype(int), good)]
    )
    assert [answers[0][0].tolist(), answers[1][0].tolist()] == [[2, 4], [2, 4]]
    assert [type(answer) for answer in answers[2:]] == [str, str]


def test_a_model_without_batch_dimension(backend: str, in_process: InProcess, tmp_path: Path) -> None:
    subgraph = open_one(onnx_models.add(tmp_path / "add.onnx", (2, 2)), backend)
    in_process.model("add", subgraph, max_batch=1, with_batch_dim=False)
    in_process.start()
    value = np.arange(4, dtype=np.float32).reshape(2, 2)
    answers = in_process.infer("add", [(value, value)] * 3)
    assert [answer[0].tolist() for answer in answers] == [[[0, 2], [4, 6]]] * 3


def test_an_input_without_batch_dimension(backend: str, in_process: InProcess, tmp_path: Path) -> None:
    path = onnx_models.save(
        tmp_path / "scale.onnx",
        [onnx_models.helper.make_node("Mul", ["x", "factor"], ["y"])],
        [onnx_models.tensor("x", "float32", ["batch", 2]), onnx_models.tensor("factor", "float32", [2])],
        [onnx_models.tensor("y", "float32", ["batch", 2])],
    )
    in_process.model("scale", open_one(path, backend), unbatched=(1,))
    in_process.start()
    value, factor = np.array([1, 2], np.float32), np.array([3, 5], np.float32)
    assert [answer[0].tolist() for answer in in_process.infer("scale", [(value, factor)] * 4)] == [[3, 10]] * 4


def test_output_shapes_that_depend_on_shapes_and_values(backend: str, in_process: InProcess, tmp_path: Path) -> None:
    in_process.model("positive", open_one(onnx_models.positive_columns(tmp_path / "p.onnx"), backend), max_batch=1)
    in_process.start()
    given = [[1, 0, 2], [0, 0, 3], [1, 2, 3], [1, 2], [0, 1], [5, 0, 0], [0, 0, 0], [1, 0, 2], [1, 2, 3]]
    for _ in range(3):
        for values in given:
            (answer,) = in_process.infer("positive", [(np.array(values, np.float32),)])
            assert answer[0].tolist() == [value for value in values if value > 0]


@pytest.mark.parametrize("lengths", [[50_000] * 4, [50_000, 60_000, 40_000, 50_000, 70_000, 50_000]])
def test_large_outputs_of_known_and_of_guessed_shape(
    backend: str, lengths: list[int], in_process: InProcess, tmp_path: Path
) -> None:
    in_process.model("positive", open_one(onnx_models.positive_columns(tmp_path / "p.onnx"), backend), max_batch=1)
    in_process.start()
    for length in lengths:
        values = np.zeros(100_000, np.float32)
        values[:length] = np.arange(1, length + 1)
        (answer,) = in_process.infer("positive", [(values,)])
        assert np.array_equal(answer[0], values[:length])


def test_large_batches(backend: str, in_process: InProcess, tmp_path: Path) -> None:
    in_process.model("add", open_one(onnx_models.add(tmp_path / "add.onnx", ("batch", 30_000)), backend), max_batch=4)
    in_process.start()
    values = [np.full(30_000, n, np.float32) for n in range(10)]
    for _ in range(3):
        answers = in_process.infer("add", [(value, value) for value in values])
        assert [(answer[0][0], answer[0][-1]) for answer in answers] == [(2 * n, 2 * n) for n in range(10)]


def test_only_the_guilty_instance_fails(in_process: InProcess, tmp_path: Path) -> None:
    # OpenVINO reads zero for an index beyond the table instead of failing.
    in_process.model("lookup", open_one(onnx_models.lookup(tmp_path / "lookup.onnx"), "onnxruntime"))
    in_process.start()
    answers = in_process.infer("lookup", [(np.array([index]),) for index in (0, 7, 2)])
    assert [answers[0][0].tolist(), answers[2][0].tolist()] == [[10], [30]]
    assert "ONNX Runtime failed on 'lookup.onnx'" in answers[1]


def test_a_function_may_call_the_model(backend: str, in_process: InProcess, tmp_path: Path) -> None:
    in_process.model("add", open_one(onnx_models.add(tmp_path / "add.onnx"), backend), max_batch=2)

    def many(x: np.ndarray) -> Any:
        results = in_process.runtime.call_model(0, [[x, x * n] for n in range(5)])
        return sum(result[0] for result in results)

    def wrong(x: np.ndarray) -> Any:
        return in_process.runtime.call_model(0, [[x, x], [x, x[:1]]])

    def uneven(x: np.ndarray) -> Any:
        return in_process.runtime.call_model(0, [[x, x], [x]])

    for function in (many, wrong, uneven):
        in_process.function(function)
    in_process.start()
    given = [(np.array([n, 1], np.float32),) for n in range(4)]
    assert [answer[0].tolist() for answer in in_process.infer("many", given)] == [[n * 15, 15] for n in range(4)]
    assert "instance 1: " in in_process.infer("wrong", given)
    assert "instance 1 of a model call has 1 inputs, instance 0 has 2" in in_process.infer("uneven", given)


def test_a_result_of_a_model_call_that_is_kept(
    in_process: InProcess, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    in_process.model("add", open_one(onnx_models.add(tmp_path / "add.onnx"), "openvino"))
    kept = []

    def hoard(x: np.ndarray) -> Any:
        ((result,),) = in_process.runtime.call_model(0, [[x, x]])
        kept.append(result)
        return result

    in_process.function(hoard)
    in_process.start()
    for number in range(3):
        (answer,) = in_process.infer("hoard", [(np.full(2, number, np.float32),)])
        assert answer[0].tolist() == [2 * number] * 2
    assert capfd.readouterr().err.count("function 'hoard' seems to keep an array") == 1


def test_answers_are_the_same_alone_and_in_a_batch(backend: str, in_process: InProcess, tmp_path: Path) -> None:
    in_process.model("add", open_one(onnx_models.add(tmp_path / "add.onnx"), backend), max_batch=16)
    in_process.start()
    rng = np.random.default_rng(0)
    given = [(rng.random(2, np.float32), rng.random(2, np.float32)) for _ in range(40)]
    together = in_process.infer("add", given)
    alone = [in_process.infer("add", [one])[0] for one in given]
    assert [one[0].tobytes() for one in together] == [one[0].tobytes() for one in alone]


def test_threads_and_options_reach_the_runtime(backend: str, tmp_path: Path) -> None:
    path = onnx_models.add(tmp_path / "add.onnx")
    one = np.ones((1, 2), np.float32)
    config = tmp_path / "config.json"
    config.write_text(
        '{"PERFORMANCE_HINT": "THROUGHPUT"}' if backend == "openvino" else '{"session.use_env_allocators": "0"}'
    )
    subgraph = open_one(path, backend, threads=2, config_file=str(config), precision_mode="origin")
    assert subgraph.execute_copied([one, one])[0].tolist() == [[2, 2]]
    config.write_text("[1]")
    with pytest.raises(RuntimeError, match="should be a JSON object"):
        open_one(path, backend, config_file=str(config))


def test_an_option_that_does_not_exist(tmp_path: Path) -> None:
    path = onnx_models.add(tmp_path / "add.onnx")
    with pytest.raises(RuntimeError, match="option 'colour' is unknown"):
        open_one(path, "openvino", colour="red")
    with pytest.raises(RuntimeError, match="NO_SUCH_PROPERTY"):
        open_one(path, "openvino", NO_SUCH_PROPERTY="1")


def test_types_that_cannot_be_served(backend: str, tmp_path: Path) -> None:
    path = onnx_models.save(
        tmp_path / "text.onnx",
        [onnx_models.helper.make_node("Identity", ["text"], ["same"])],
        [onnx_models.helper.make_tensor_value_info("text", onnx_models.TensorProto.STRING, ["batch"])],
        [onnx_models.helper.make_tensor_value_info("same", onnx_models.TensorProto.STRING, ["batch"])],
    )
    with pytest.raises(RuntimeError, match=r"text.*cannot (be served|serve)"):
        open_one(path, backend)


def test_a_broken_file(backend: str, tmp_path: Path) -> None:
    path = Path(onnx_models.add(tmp_path / "add.onnx"))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(RuntimeError, match=r"cannot open .*add\.onnx"):
        open_one(str(path), backend)
