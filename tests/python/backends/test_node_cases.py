"""ONNX's own tests of its operators, all of them, outside of a server: a backend says what it does not do, and where it
computes something else the table of deviations says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import helper
from servoir.backends.deviations import all_in
from servoir.backends.model_file import ModelFile
from servoir.backends.onnx_graph import read_graph
from support.kinds import ONNX_BACKENDS
from support.models import onnx_models
from support.models.node_cases import Case, cases, run_each


def is_in_the_table(case: Case, backend: str) -> bool:
    graph = read_graph(ModelFile("m.onnx", case.model))
    assert graph is not None
    return any(True for _ in all_in(graph, backend))


@pytest.mark.parametrize("backend", ONNX_BACKENDS)
def test_what_is_computed_otherwise_is_in_the_table(backend: str, tmp_path: Path) -> None:
    chosen = {case.name: case for case in cases() if not case.is_random}
    told = run_each(backend, list(chosen.values()), tmp_path)
    assert {name for name, wrong in told.items() if not wrong} > {"test_add", "test_softmax_example"}
    found = {name: wrong for name, wrong in told.items() if wrong.startswith(("output", "the process ended"))}
    assert {name: wrong for name, wrong in found.items() if not is_in_the_table(chosen[name], backend)} == {}


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8"])
@pytest.mark.parametrize("operator", ["Div", "Mod"])
@pytest.mark.parametrize("backend", ONNX_BACKENDS)
def test_a_client_that_divides_by_nothing_ends_no_process(
    backend: str, operator: str, dtype: str, tmp_path: Path
) -> None:
    ports = [onnx_models.tensor(name, dtype, ["batch"]) for name in "xzy"]
    path = onnx_models.save(tmp_path / "m.onnx", [helper.make_node(operator, ["x", "z"], ["y"])], ports[:2], ports[2:])
    x, z = np.array([7, 8], dtype), np.array([0, 3], dtype)
    case = Case("by nothing", Path(path).read_bytes(), [x, z], [np.array([77, 2], dtype)], (0, 0))
    told = run_each(backend, [case], tmp_path)["by nothing"]
    # OpenVINO has some number for it, the others an error.
    assert "zero" in told or "divided by 0" in told or (backend == "openvino" and told == "output 0 has other values")
