"""Outputs that are inputs, as the file says or after the runtime's optimisation: each request gets its own values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from servoir import backends
from support.in_process import InProcess
from support.kinds import ONNX_BACKENDS
from support.models.onnx_models import save, tensor

DOUBLED = helper.make_node("Add", ["x", "x"], ["z"])
# What comes with z = 2 x, and by how much it is x.
SECOND: dict[str, tuple[list[onnx.NodeProto], str, int]] = {
    "the input": ([], "x", 1),
    "Dropout": ([helper.make_node("Dropout", ["x"], ["y"])], "y", 1),
    "Identity": ([helper.make_node("Identity", ["x"], ["y"])], "y", 1),
    "Max of one": ([helper.make_node("Max", ["x"], ["y"])], "y", 1),
    "Sum of one": ([helper.make_node("Sum", ["x"], ["y"])], "y", 1),
    "two Dropouts": (
        [helper.make_node("Dropout", ["x"], ["a"]), helper.make_node("Dropout", ["a"], ["y"])],
        "y",
        1,
    ),
    "the first output": ([helper.make_node("Dropout", ["z"], ["y"])], "y", 2),
}
FORMS: dict[str, tuple[list[str | int], bool]] = {
    "open batch": (["N"], True),
    "fixed batch": ([4], True),
    "batch of 1": ([1], True),
    "without batch": ([], False),
    "open length": ([], False),
}


@pytest.mark.parametrize("width", [4, 65536])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("second", SECOND)
@pytest.mark.parametrize("backend", ONNX_BACKENDS)
def test_values_are_those_of_the_request(
    backend: str, second: str, form: str, width: int, in_process: InProcess, tmp_path: Path
) -> None:
    nodes, name, factor = SECOND[second]
    batch, with_batch_dim = FORMS[form]
    dims = [*batch, "L" if form == "open length" else width]

    def opened(path: Path, nodes: list[onnx.NodeProto], outputs: list[str]) -> object:
        save(path, nodes, [tensor("x", "float32", dims)], [tensor(output, "float32", dims) for output in outputs])
        return backends.open_model([str(path)], None, backend, 1, backends.CPU, {}).subgraphs[0]

    most = batch[0] if batch and batch[0] != "N" else 8 if batch else 1
    other = opened(tmp_path / "other.onnx", [DOUBLED], ["z"])
    model = opened(tmp_path / "model.onnx", [DOUBLED, *nodes], ["z", name])
    in_process.model("other", other, max_batch=most, with_batch_dim=with_batch_dim)
    in_process.model("model", model, max_batch=most, with_batch_dim=with_batch_dim)
    in_process.start()
    for value in range(1, 6):
        in_process.infer("other", [(np.full(width, 1000 + value, np.float32),)] * 3)  # fills rooms that come next
        given = [np.full(width, 10 * value + n, np.float32) for n in range(3)]
        answers = in_process.infer("model", [(x,) for x in given])
        assert isinstance(answers, list), answers
        for x, (z, y) in zip(given, answers, strict=True):
            np.testing.assert_array_equal(z, 2 * x)
            np.testing.assert_array_equal(y, factor * x)


@pytest.mark.parametrize("backend", ONNX_BACKENDS)
def test_a_model_of_nothing_else(backend: str, in_process: InProcess, tmp_path: Path) -> None:
    """One output, which is the input, of any length."""
    path = save(tmp_path / "m.onnx", [], [tensor("x", "float32", ["L"])], [tensor("x", "float32", ["L"])])
    try:
        model = backends.open_model([path], None, backend, 1, backends.CPU, {}).subgraphs[0]
    except RuntimeError as error:
        pytest.skip(f"{backend} does not open it: {error}")
    in_process.model("model", model, max_batch=1, with_batch_dim=False)
    in_process.start()
    for length in (3, 5, 40000, 3):
        x = np.arange(length, dtype=np.float32)
        ((y,),) = in_process.infer("model", [(x,)])
        np.testing.assert_array_equal(y, x)
