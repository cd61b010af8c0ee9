"""ONNX's own tests of its operators, all of them, outside of a server: a backend says what it does not do, and where it
computes something else the table of deviations says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from servoir.backends.deviations import all_in
from servoir.backends.model_file import ModelFile
from servoir.backends.onnx_graph import read_graph
from support.kinds import ONNX_BACKENDS
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
