"""ONNX files with inputs and outputs of texts, on the backends that read ONNX."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper
from servoir import backends
from support.kinds import ONNX_BACKENDS
from support.models import onnx_models

WHY = {
    "openvino": r"input 0 \('x'\) has texts, and OpenVINO's C interface gives none back; bool, integers",
    "opencv_dnn": "unsupported datatype 'STRING'",
}


def copy(path: Path) -> str:
    value = helper.make_tensor_value_info
    x, y = (value(name, TensorProto.STRING, ["batch", 2]) for name in "xy")
    return onnx_models.save(path, [helper.make_node("Identity", ["x"], ["y"])], [x], [y])


@pytest.mark.parametrize("backend", ONNX_BACKENDS)
def test_a_backend_runs_texts_or_says_why_it_does_not(backend: str, tmp_path: Path) -> None:
    path = copy(tmp_path / "copy.onnx")
    if backend in WHY:
        with pytest.raises(RuntimeError, match=WHY[backend]):
            backends.open_model([path], None, backend, 1, backends.CPU, {})
        return
    texts = np.array([["añadir", ""], ["x", "y"]], object)
    opened = backends.open_model([path], None, backend, 1, backends.CPU, {}).subgraphs[0]
    assert [port["dtype"] for port in opened.inputs + opened.outputs] == ["str", "str"]
    (result,) = opened.execute_copied([texts])
    np.testing.assert_array_equal(result, texts)


def test_without_a_name_the_backend_that_runs_texts_is_taken(tmp_path: Path) -> None:
    opened = backends.open_model([copy(tmp_path / "copy.onnx")], None, None, 1, backends.CPU, {})
    assert opened.backend == "onnxruntime"
    assert any("has texts, and OpenVINO's C interface gives none back" in refusal for refusal in opened.refusals)
