"""Backends that run ONNX files: their options, and what else is not for every backend (see test_conformance.py)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from servoir import backends
from support.kinds import ONNX_BACKENDS
from support.models import onnx_models

if TYPE_CHECKING:
    from support.in_process import InProcess


def open_one(path: str, backend: str, threads: int = 1, **options: str) -> Any:
    return backends.open_model([path], None, backend, threads, backends.CPU, options).subgraphs[0]


@pytest.fixture(params=ONNX_BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# OpenCV DNN has no outputs whose shape depends on values.
@pytest.mark.parametrize("backend", [name for name in ONNX_BACKENDS if name != "opencv_dnn"])
@pytest.mark.parametrize("lengths", [[50_000] * 4, [50_000, 60_000, 40_000, 50_000, 70_000, 50_000]])
def test_large_outputs_of_known_and_of_guessed_shape(
    backend: str, lengths: list[int], in_process: InProcess, tmp_path: Path
) -> None:
    in_process.model("positive", open_one(onnx_models.positive(tmp_path / "p.onnx"), backend), max_batch=1)
    in_process.start()
    for length in lengths:
        values = np.zeros(100_000, np.float32)
        values[:length] = np.arange(1, length + 1)
        (answer,) = in_process.infer("positive", [(values,)])
        assert np.array_equal(answer[0], values[:length])


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


def test_threads_and_options_reach_the_runtime(backend: str, tmp_path: Path) -> None:
    path = onnx_models.add(tmp_path / "add.onnx")
    one = np.ones((1, 2), np.float32)
    config = tmp_path / "config.json"
    known = {
        "openvino": '{"PERFORMANCE_HINT": "THROUGHPUT"}',
        "onnxruntime": '{"session.use_env_allocators": "0"}',
        "opencv_dnn": '{"streams": 1}',
    }
    config.write_text(known[backend])
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
    """Texts; ONNX Runtime runs models of these, but none that give a sequence."""
    helper, types = onnx_models.helper, onnx_models.TensorProto
    if backend == "onnxruntime":
        node = helper.make_node("SequenceConstruct", ["x"], ["text"])
        given = helper.make_tensor_value_info("x", types.FLOAT, ["batch"])
        made = helper.make_tensor_sequence_value_info("text", types.FLOAT, None)
    else:
        node = helper.make_node("Identity", ["text"], ["same"])
        given = helper.make_tensor_value_info("text", types.STRING, ["batch"])
        made = helper.make_tensor_value_info("same", types.STRING, ["batch"])
    path = onnx_models.save(tmp_path / "text.onnx", [node], [given], [made])
    why = r"text.*(cannot be served|has texts, and OpenVINO|unsupported datatype 'STRING')"
    with pytest.raises(RuntimeError, match=why):
        open_one(path, backend)
