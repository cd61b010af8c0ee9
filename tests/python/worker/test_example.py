"""The example of an instance: what is taken for one, the instances made of it, and what trials and first runs do with
it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from servoir.errors import BackendError
from servoir.servable.declarations import DeclaredModel
from servoir.worker import batch_trial
from servoir.worker.batch_judgement import Verdict
from servoir.worker.batch_trial import try_batches, whole_outputs
from servoir.worker.example import read_example, unlike_rows
from servoir.worker.warm_up import warm_up

Array = Any


@dataclass
class Computed:
    """A model's file that is open, as a backend gives it; it remembers what it was run with."""

    function: Callable[..., Any]
    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    seen: list[list[Array]] = field(default_factory=list)

    def execute_copied(self, inputs: Sequence[Array]) -> list[Array]:
        self.seen.append([array.copy() for array in inputs])
        results = self.function(*inputs)
        return [np.asarray(result) for result in (results if isinstance(results, (list, tuple)) else [results])]


def port(name: str, dtype: str | None, shape: Sequence[int] | None) -> dict[str, Any]:
    return {"name": name, "dtype": dtype, "shape": None if shape is None else list(shape)}


IDS, MASK = port("ids", "int64", [-1, -1]), port("mask", "float32", [-1, 3])


def model(example: Any, **more: Any) -> DeclaredModel:
    return DeclaredModel(("m.onnx",), example=example, **more)


def read(example: Any, *inputs: dict[str, Any], **more: Any) -> list[Array] | None:
    return read_example(model(example, **more), 0, Computed(lambda: None, list(inputs), []))


@pytest.mark.parametrize(
    "example",
    [
        [[5, 6], [1, 0, 0.5]],
        ((5, 6), np.array([1, 0, 0.5], np.float32)),
        {"mask": [1, 0, 0.5], "ids": np.array([5, 6])},
    ],
)
def test_it_is_given_by_position_or_by_name(example: Any) -> None:
    ids, mask = read(example, IDS, MASK) or []
    assert (ids.dtype, ids.tolist()) == (np.int64, [5, 6])
    assert (mask.dtype, mask.tolist()) == (np.float32, [1, 0, 0.5])


def test_no_example_and_later_subgraphs() -> None:
    assert read(None, IDS) is None
    assert read_example(model([[1]]), 1, Computed(lambda: None, [IDS], [])) is None


@pytest.mark.parametrize(
    ("example", "text"),
    [
        ([[5, 6]], "has 1 values; it should have one for each input: 'ids', 'mask'"),
        ({"ids": [5]}, "has 'ids'; it should have a value for each input: 'ids', 'mask'"),
        (
            [[5, 6], [1, 0]],
            r"input 1 \('mask'\) should be float32 of the shape \[3\], but is float32 of the shape \[2\]",
        ),
        ([[[5, 6]], [1, 0, 1]], r"should be int64 of the shape \[\?\], but is int64 of the shape \[1, 2\]"),
        ([[5.5], [1, 0, 1]], r"should be int64 of the shape \[\?\]: it is float64"),
        ([np.array([5], np.int32), [1, 0, 1]], r"should be int64 of the shape \[\?\], but is int32 of the shape \[1\]"),
        ([[None], [1, 0, 1]], "it is no array of numbers or texts"),
        ([[[1], [2, 3]], [1, 0, 1]], "inhomogeneous"),
    ],
)
def test_what_does_not_fit_is_refused(example: Any, text: str) -> None:
    with pytest.raises(RuntimeError, match=r"Parameter 'example' of model 'm\.onnx'.*" + text):
        read(example, IDS, MASK)


def test_inputs_without_batch_dimension_and_unknown_ones() -> None:
    factor = port("factor", "float32", [2])
    assert read([[1, 2], [5]], factor, IDS, without_batch_dim_inputs=(0,)) is not None
    assert read([[[1.5]]], port("x", None, None)) is not None
    assert read([[[1, 2, 3]]], MASK, with_batch_dim=False) is not None
    with pytest.raises(RuntimeError, match=r"should be uint8 of the shape \[\]"):
        read([300], port("x", "uint8", [-1]))
    (texts,) = read([["a", "b"]], port("x", "str", [-1, 2])) or []
    assert texts.tolist() == ["a", "b"]


def test_instances_are_unlike_and_of_the_same_values() -> None:
    example = [np.arange(5), np.array([1.0, 2.0], np.float32), np.array([7])]
    ids, floats, whole = unlike_rows(example, [2], 4)
    assert ids[0].tolist() == [0, 1, 2, 3, 4]
    assert len({tuple(row) for row in ids.tolist()}) == 4
    assert all(sorted(row) == [0, 1, 2, 3, 4] for row in ids.tolist())
    assert floats[0].tolist() == [1, 2]
    assert len({tuple(row) for row in floats.tolist()}) == 4
    assert (floats.dtype.name, floats.max()) == ("float32", 2)
    assert whole.tolist() == [7]
    later, _, _ = unlike_rows(example, [2], 2, first=2)
    assert later.tolist() == ids[2:].tolist()


# ---- in a trial


def only_these(x: Array) -> Array:
    """A model that takes no made-up values."""
    if (x < 100).any():
        raise BackendError("only identifiers from 100")
    return x - 100


def tried(function: Callable[..., Any], declared: DeclaredModel, inputs: list[Any], outputs: list[Any]) -> Verdict:
    subgraph = Computed(function, inputs, outputs)
    example = read_example(declared, 0, subgraph)
    return try_batches(subgraph, batch=None, max_batch=64, unbatched_inputs=(), whole=(), example=example)


@pytest.mark.parametrize(("function", "wrong"), [(only_these, 0), (lambda x: only_these(x)[::-1], 1)])
def test_a_model_that_takes_no_made_up_values_is_judged_by_its_example(
    function: Callable[..., Any], wrong: int
) -> None:
    y = port("y", "int64", [-1, -1])
    verdict = tried(function, model([[101, 150, 200, 102]]), [IDS], [y])
    assert (verdict.judged, len(verdict.wrong), verdict.remarks) == (True, wrong, [])
    without = tried(function, model(None), [IDS], [y])
    assert not without.judged
    assert "declare_model(example=…) can say what it runs with" in without.remarks[0]


def test_constants_are_found_by_an_example_alone() -> None:
    outputs = [port("y", "int64", [-1, -1]), port("c", "int64", [2])]
    verdict = tried(lambda x: [only_these(x), np.array([10, 20])], model([[101, 150]]), [IDS], outputs)
    assert (verdict.wrong, verdict.whole_outputs) == ([], [1])


def test_open_dimensions_are_those_of_the_example() -> None:
    subgraph = Computed(lambda x: x, [IDS], [IDS])
    example = read_example(model([[1, 0, 1, 1, 1]]), 0, subgraph)
    verdict = try_batches(subgraph, batch=None, max_batch=64, unbatched_inputs=(), whole=(), example=example)
    assert (verdict.judged, verdict.wrong) == (True, [])
    assert {array.shape[1] for (array,) in subgraph.seen} == {5}


def test_a_file_that_says_nothing_of_its_inputs() -> None:
    nothing = port("x", None, None)
    verdict = tried(lambda x: x[::-1], model([np.array([1, 2, 3], np.float32)]), [nothing], [port("y", None, None)])
    assert len(verdict.wrong) == 1


def test_an_example_that_does_not_run() -> None:
    def broken(x: Array) -> Array:
        if x.max() > 1:
            raise BackendError("only 0 and 1")
        return x

    verdict = tried(broken, model([[7, 8]]), [IDS], [IDS])
    assert (verdict.judged, verdict.wrong) == (True, [])
    assert verdict.remarks == ["it does not run with instances made of its example: only 0 and 1"]


def test_what_a_trial_costs_is_told(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_trial, "WORTH_A_WARNING", 0.01)

    def slow(x: Array) -> Array:
        time.sleep(0.01)
        return x

    whole_outputs(model(None), 0, Computed(slow, [MASK], [MASK]))
    assert "4 trial runs of its batches took" in (text := capfd.readouterr().err)
    assert "trial=False of its declare_model leaves them out" in text


def test_without_a_trial_a_warning_says_what_is_not_checked(capfd: pytest.CaptureFixture[str]) -> None:
    assert whole_outputs(model(None, trial=False), 0, Computed(lambda x: x, [MASK], [MASK])) == ()
    assert "with trial=False it is not checked whether each output has a row for each" in capfd.readouterr().err


# ---- the first run


@pytest.mark.parametrize(("example", "runs"), [(None, ["ones"]), ([[5, 6, 7]], ["ones", "example"])])
@pytest.mark.parametrize("made_up", [False, True])
def test_a_first_run_takes_ones_and_then_the_example(example: Any, runs: list[str], made_up: bool) -> None:
    subgraph = Computed(lambda x: x, [MASK], [MASK])
    declared = model(example, trial=made_up)
    warm_up(subgraph, declared, made_up, read_example(declared, 0, subgraph))
    given = {"ones": [[1, 1, 1]], "example": [[5, 6, 7]]}
    assert [x.tolist() for (x,) in subgraph.seen] == [given[run] for run in (runs if made_up else runs[1:])]


def test_a_first_run_is_as_large_as_a_fixed_batch() -> None:
    fixed = port("x", "float32", [4, 2])
    subgraph = Computed(lambda x: x, [fixed], [fixed])
    declared = model([[5, 6]])
    warm_up(subgraph, declared, False, read_example(declared, 0, subgraph))
    assert subgraph.seen[0][0].shape == (4, 2)
    whole = model([[[5, 6]] * 4], with_batch_dim=False)
    warm_up(subgraph, whole, False, read_example(whole, 0, subgraph))
    assert subgraph.seen[1][0].tolist() == [[5, 6]] * 4


def test_a_first_run_that_fails_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    def broken(x: Array) -> Array:
        raise BackendError("not today")

    subgraph = Computed(broken, [MASK], [MASK])
    declared = model([[5, 6, 7]])
    warm_up(subgraph, declared, True, read_example(declared, 0, subgraph))
    assert "the model 'm.onnx' does not run with its example: not today" in capfd.readouterr().err
