"""What ONNX files say reaches every backend that reads them, however the runtime reads files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator
from servoir import backends
from support.kinds import ONNX_BACKENDS
from support.models import onnx_models


def opened(path: str, backend: str) -> Any:
    return backends.open_model([path], None, backend, 1, backends.CPU, {}).subgraphs[0]


@pytest.mark.parametrize("backend", ONNX_BACKENDS)
def test_an_input_without_elements_is_an_input(backend: str, tmp_path: Path) -> None:
    value = helper.make_tensor_value_info
    path = onnx_models.save(
        tmp_path / "concat.onnx",
        [helper.make_node("Concat", ["a", "b"], ["y"], axis=0)],
        [value("a", TensorProto.FLOAT, [0]), value("b", TensorProto.FLOAT, [2])],
        [value("y", TensorProto.FLOAT, [2])],
    )
    assert [port["name"] for port in opened(path, backend).inputs] == ["a", "b"]


@pytest.mark.parametrize("backend", [one for one in ONNX_BACKENDS if one != "opencv_dnn"])
def test_a_loss_that_ignores_a_class(backend: str, tmp_path: Path) -> None:
    path = onnx_models.save(
        tmp_path / "loss.onnx",
        [helper.make_node("NegativeLogLikelihoodLoss", ["x", "target"], ["y"], reduction="none", ignore_index=1)],
        [onnx_models.tensor("x", "float32", [2, 3]), onnx_models.tensor("target", "int64", [2])],
        [onnx_models.tensor("y", "float32", [2])],
    )
    given = [np.array([[1, 2, 3], [4, 5, 6]], np.float32), np.array([1, 2])]
    (answer,) = opened(path, backend).execute_copied(given)
    (wanted,) = ReferenceEvaluator(path).run(None, {"x": given[0], "target": given[1]})
    np.testing.assert_allclose(answer, wanted)


@pytest.mark.parametrize("backend", ONNX_BACKENDS)
def test_tensors_in_a_file_of_their_own(backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = np.arange(600, dtype=np.float32).reshape(2, 300)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    graph = helper.make_graph(
        nodes,
        "test",
        [onnx_models.tensor("x", "float32", ["batch", 2])],
        [onnx_models.tensor("y", "float32", ["batch", 300])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = str(tmp_path / "net.onnx")
    onnx.save(model, path, save_as_external_data=True, location="net.data", size_threshold=0)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    x = np.array([[1, 2]], np.float32)
    np.testing.assert_allclose(opened(path, backend).execute_copied([x])[0], x @ weights)


@pytest.mark.parametrize("backend", ONNX_BACKENDS)
def test_outputs_have_the_dimensions_that_the_file_says(backend: str, tmp_path: Path) -> None:
    """OpenCV gives a scalar one dimension."""
    path = onnx_models.save(
        tmp_path / "size.onnx",
        [helper.make_node("Size", ["x"], ["y"])],
        [onnx_models.tensor("x", "float32", [2, 3])],
        [onnx_models.tensor("y", "int64", [])],
    )
    (answer,) = opened(path, backend).execute_copied([np.ones((2, 3), np.float32)])
    assert answer.shape == ()
    assert answer == 6


@pytest.mark.parametrize("backend", ONNX_BACKENDS)
def test_a_recurrent_layer_without_a_state_runs_again(backend: str, tmp_path: Path) -> None:
    """With any batch size. OpenCV keeps something of the batch before."""
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(size=(1, 15, size)).astype(np.float32) for name, size in (("w", 2), ("r", 5))}
    path = onnx_models.save(
        tmp_path / "gru.onnx",
        [helper.make_node("GRU", ["x", "w", "r"], ["", "y"], hidden_size=5)],
        [onnx_models.tensor("x", "float32", [1, "batch", 2])],
        [onnx_models.tensor("y", "float32", [1, "batch", 5])],
        [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model, wanted = opened(path, backend), ReferenceEvaluator(path)
    for batch in (3, 3, 1, 4):
        x = rng.normal(size=(1, batch, 2)).astype(np.float32)
        np.testing.assert_allclose(model.execute_copied([x])[0], wanted.run(None, {"x": x})[0], rtol=1e-4, atol=1e-5)
