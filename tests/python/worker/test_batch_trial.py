"""What trial runs find out about a model's batch dimension: models of numpy that keep to it, and models that do not."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from servoir.errors import BackendError
from servoir.worker import batch_trial
from servoir.worker.batch_judgement import Verdict
from servoir.worker.batch_trial import try_batches

Array = Any
Outputs = Array | Sequence[Array]


@dataclass
class Computed:
    """A model's file that is open, as a backend gives it."""

    function: Callable[..., Outputs]
    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    runs: int = 0

    def execute_copied(self, inputs: Sequence[Array]) -> list[Array]:
        self.runs += 1
        results = self.function(*inputs)
        return [np.asarray(result) for result in (results if isinstance(results, (list, tuple)) else [results])]


def ports(letter: str, shapes: Sequence[Any], dtypes: Sequence[str] | str = "float32") -> list[dict[str, Any]]:
    names = [dtypes] * len(shapes) if isinstance(dtypes, str) else dtypes
    return [
        {"name": f"{letter}{index}", "dtype": dtype, "shape": shape}
        for index, (shape, dtype) in enumerate(zip(shapes, names, strict=True))
    ]


def tried(
    function: Callable[..., Outputs],
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    *,
    dtypes: Sequence[str] | str = "float32",
    batch: int | None = None,
    max_batch: int = 64,
    unbatched: Sequence[int] = (),
    whole: Sequence[int] = (),
) -> Verdict:
    model = Computed(function, ports("x", inputs, dtypes), ports("y", outputs))
    verdict = try_batches(model, batch=batch, max_batch=max_batch, unbatched_inputs=unbatched, whole=whole)
    assert verdict.runs <= model.runs
    return verdict


def passes(verdict: Verdict) -> None:
    assert verdict.judged
    assert (verdict.wrong, verdict.remarks, verdict.whole_outputs) == ([], [], [])


def softmax(x: Array, axis: int) -> Array:
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


@pytest.mark.parametrize("batch", [None, 1, 2, 3, 16])
@pytest.mark.parametrize(
    ("function", "inputs", "outputs"),
    [
        (lambda x: x + 1, [[-1, 4]], [[-1, 4]]),
        (lambda x: x.sum(1), [[-1, 4]], [[-1]]),
        (lambda x: softmax(x, 1), [[-1, 4]], [[-1, 4]]),
        (lambda x: x.argmax(1), [[-1, 4]], [[-1]]),
        (lambda x: np.swapaxes(x, 1, 2), [[-1, -1, 2]], [[-1, 2, -1]]),
        (np.log, [[-1, 4]], [[-1, 4]]),
        (lambda x: [x[:, :2], x > 0], [[-1, 4]], [[-1, 2], [-1, 4]]),
        (lambda x: np.zeros((len(x), 3), np.float32), [[-1, 4]], [None]),
        (lambda x, w: x @ w, [[-1, 4], [-1, 4, 2]], [[-1, 4, 2]]),
    ],
)
def test_models_of_independent_rows_pass(
    function: Callable[..., Outputs], inputs: list[Any], outputs: list[Any], batch: int | None
) -> None:
    sized = [[batch or -1, *shape[1:]] for shape in inputs]
    if len(inputs) == 2:
        return passes(tried(lambda x, w: np.einsum("ni,nio->no", x, w), sized, outputs, batch=batch))
    return passes(tried(function, sized, outputs, batch=batch))


@pytest.mark.parametrize("max_batch", [1, 2, 3, 64])
def test_batches_are_no_larger_than_the_model_takes(max_batch: int) -> None:
    sizes = []

    def function(x: Array) -> Array:
        sizes.append(len(x))
        return x

    passes(tried(function, [[-1, 4]], [[-1, 4]], max_batch=max_batch))
    assert max(sizes) == min(max_batch, 3)
    assert len(sizes) == 4


def chosen_by_value(x: Array) -> Array:
    return x[x.sum(1) > 0]


WRONG: dict[str, tuple[Callable[..., Outputs], list[Any], list[Any]]] = {
    "transposed": (lambda x: x.T, [[-1, 4]], [[4, -1]]),
    "transposed with an open length": (lambda x: np.swapaxes(x, 0, 1), [[-1, -1, 2]], [[-1, -1, 2]]),
    "rows chosen by value": (chosen_by_value, [[-1, 4]], [[-1, 4]]),
    "as many rows, chosen by value": (lambda x: x[np.argsort(x[:, 0])], [[-1, 4]], [[-1, 4]]),
    "the order turned round": (lambda x: x[::-1], [[-1, 4]], [[-1, 4]]),
    "shifted": (lambda x: np.roll(x, 1, 0), [[-1, 4]], [[-1, 4]]),
    "the mean taken away": (lambda x: x - x.mean(0), [[-1, 4]], [[-1, 4]]),
    "softmax over the batch": (lambda x: softmax(x, 0), [[-1, 4]], [[-1, 4]]),
    "summed up": (lambda x: np.cumsum(x, 0), [[-1, 4]], [[-1, 4]]),
    "the first row for all": (lambda x: np.repeat(x[:1], len(x), 0), [[-1, 4]], [[-1, 4]]),
    "the sum of all": (lambda x: x.sum(0), [[-1, 4]], [[4]]),
    "the sum of all, as a value": (lambda x: x.sum(), [[-1, 4]], [[]]),
    "flattened": (lambda x: x.ravel(), [[-1, 4]], [[-1]]),
    "a rank in the batch": (lambda x: np.argsort(np.argsort(x[:, 0])), [[-1, 4]], [[-1]]),
    "its number in the batch": (lambda x: np.arange(len(x)), [[-1, 4]], [[-1]]),
    "one column of many": (
        lambda x: np.concatenate([x * 1000, (x[:, :1] - x[:, :1].mean(0))], 1),
        [[-1, 4]],
        [[-1, 5]],
    ),
    "columns chosen by value": (lambda x: x[:, (x > 0).all(0)], [[-1, 40]], [[-1, -1]]),
}


@pytest.mark.parametrize("name", WRONG)
def test_rows_that_depend_on_others_are_found(name: str) -> None:
    function, inputs, outputs = WRONG[name]
    verdict = tried(function, inputs, outputs)
    assert verdict.judged
    assert len(verdict.wrong) == 1, verdict
    assert "output 0 ('y0')" in verdict.wrong[0]
    assert verdict.whole_outputs == []


@pytest.mark.parametrize("batch", [2, 3, 4])
@pytest.mark.parametrize(
    "name",
    ["the order turned round", "shifted", "the mean taken away", "softmax over the batch", "the first row for all"],
)
def test_rows_that_depend_on_others_are_found_in_a_fixed_batch(name: str, batch: int) -> None:
    function = WRONG[name][0]
    verdict = tried(function, [[batch, 4]], [[batch, 4]], batch=batch)
    assert len(verdict.wrong) == 1, verdict
    assert f"of a batch of {batch}" in verdict.wrong[0]


def test_the_text_has_declared_and_seen_shapes() -> None:
    (text,) = tried(lambda x: x.T, [[-1, 4]], [[4, -1]]).wrong
    assert text == (
        "output 0 ('y0') does not have a row for each instance: its shape is [4, ?] in the file, and [4, 3] and [4, 2]"
        " for batches of 3 and 2 instances"
    )
    (text,) = tried(lambda x: x - x.mean(0), [[-1, 4]], [[-1, 4]]).wrong
    assert "depends on more than its own instance: the same instance gave other values as number" in text
    assert "its shape is [?, 4] in the file, and [3, 4] and [2, 4] for these batches" in text


@pytest.mark.parametrize("batch", [None, 4])
@pytest.mark.parametrize(
    ("constant", "declared"),
    [
        (np.array([10, 20], np.float32), [2]),
        (np.array([7], np.float32), [1]),
        (np.array([7.0, 7, 7], np.float32), [3]),
        (np.arange(64), [64]),
        (np.float32(3), []),
        (np.array([10, 20], np.float32), None),
    ],
)
def test_constants_have_no_batch_dimension(constant: Array, declared: Any, batch: int | None) -> None:
    verdict = tried(lambda x: [x + 1, constant], [[batch or -1, 4]], [[batch or -1, 4], declared], batch=batch)
    assert (verdict.wrong, verdict.remarks, verdict.whole_outputs) == ([], [], [1])


def test_a_constant_as_long_as_the_batch_is_told_from_rows() -> None:
    verdict = tried(lambda x: [x + 1, np.array([10, 20])], [[2, 4]], [[2, 4], [2]], batch=2)
    assert (verdict.wrong, verdict.whole_outputs) == ([], [1])


def test_the_shape_of_the_batch_has_no_batch_dimension() -> None:
    verdict = tried(lambda x: [x + 1, np.array(x.shape)], [[-1, 3]], [[-1, 3], [2]])
    assert (verdict.wrong, verdict.whole_outputs) == ([], [1])


def test_results_that_may_be_the_batchs_are_not_taken_for_constants() -> None:
    """As the boxes that a detector finds in all of its pictures: none in those that were made up."""
    nothing = np.zeros((0, 4), np.float32)
    assert len(tried(lambda x: [x + 1, nothing], [[-1, 3]], [[-1, 3], [-1, 4]]).wrong) == 1
    assert len(tried(lambda x: [x + 1, nothing], [[-1, 3]], [[-1, 3], None]).wrong) == 1
    assert len(tried(lambda x: [x + 1, np.zeros((5, 4))], [[-1, 3]], [[-1, 3], [-1, 4]]).wrong) == 1


def test_outputs_declared_to_be_whole() -> None:
    verdict = tried(lambda x: [x + 1, np.array([10, 20])], [[-1, 4]], [[-1, 4], [-1]], whole=[1])
    assert (verdict.wrong, verdict.whole_outputs) == ([], [])
    verdict = tried(lambda x: [x + 1, x.sum(0)], [[-1, 4]], [[-1, 4], [4]], whole=[1])
    assert (verdict.wrong, verdict.whole_outputs) == ([], [])
    assert "what all of them together gave" in verdict.remarks[0]


def test_an_input_without_batch_dimension() -> None:
    passes(tried(lambda x, w: x * w, [[-1, 4], [4]], [[-1, 4]], unbatched=[1]))


def test_integers_are_indices_of_small_tables_and_no_divisors() -> None:
    table = np.array([[1, 2], [3, 4]], np.float32)
    seen: list[Array] = []

    def embedded(ids: Array, mask: Array) -> Array:
        seen.extend([ids, mask])
        if ids.max() > 1 or ids.min() < 0:
            raise IndexError("out of range")
        return (table[ids] * mask[..., None]).sum(1)

    passes(tried(embedded, [[-1, -1], [-1, -1]], [[-1, 2]], dtypes="int64"))
    assert {int(value) for array in seen for value in array.ravel()} == {0, 1}
    assert len(tried(lambda ids: ids - ids.max(0), [[-1, 32]], [[-1, 32]], dtypes="int64").wrong) == 1

    def divided(x: Array, by: Array) -> Array:
        if (by == 0).any():
            raise ZeroDivisionError
        return x / by

    passes(tried(divided, [[-1, 3], [-1, 3]], [[-1, 3]], dtypes=["float32", "int32"]))


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "uint64", "float16", "float64"])
def test_every_type(dtype: str) -> None:
    passes(tried(lambda x: x, [[-1, 5]], [[-1, 5]], dtypes=dtype))
    assert len(tried(lambda x: x[::-1], [[-1, 9]], [[-1, 9]], dtypes=dtype).wrong) == 1


def test_lengths_are_looked_for() -> None:
    def wants_multiples(x: Array) -> Array:
        if x.shape[2] % 32 or x.shape[3] % 32:
            raise BackendError("sizes have to be multiples of 32")
        return x.mean((1, 2, 3))

    passes(tried(wants_multiples, [[-1, 3, -1, -1]], [[-1]]))


def test_models_that_refuse_made_up_values_are_served_unjudged() -> None:
    def picky(x: Array) -> Array:
        raise BackendError("wants something else")

    verdict = tried(picky, [[-1, 4]], [[-1, 4]])
    assert (verdict.judged, verdict.wrong) == (False, [])
    assert verdict.remarks == [
        "it was not tried, as it does not run with made-up values: wants something else; declare_model(example=…) can"
        " say what it runs with"
    ]

    verdict = tried(lambda x: x, [None], [None])
    assert "it was not tried, as its file does not say the shape of 'x0'; declare_model" in verdict.remarks[0]
    assert not verdict.judged


def test_values_of_one_kind_are_enough() -> None:
    def only_positive(x: Array) -> Array:
        if (x <= 0).any():
            raise BackendError("only what is above 0")
        return x - x.mean(0)

    assert len(tried(only_positive, [[-1, 4]], [[-1, 4]]).wrong) == 1


def test_models_that_give_other_results_each_time() -> None:
    random = np.random.default_rng(1)
    verdict = tried(lambda x: x + random.normal(0, 1, x.shape), [[-1, 4]], [[-1, 4]])
    assert verdict.wrong == []
    assert len(verdict.remarks) == 1
    assert "output 0 ('y0') is another one each time that the same batch is run" in verdict.remarks[0]
    # The shape is judged all the same.
    verdict = tried(lambda x: (x + random.normal(0, 1, x.shape)).T, [[-1, 4]], [[4, -1]])
    assert "does not have a row for each instance" in verdict.wrong[0]


def test_models_with_dynamic_quantisation_are_served() -> None:
    weights = np.random.default_rng(2).normal(0, 1, (16, 8)).astype(np.float32)

    def quantised(x: Array) -> Array:
        scale = np.abs(x).max() / 127  # of the whole batch
        return np.round(x / scale) * scale @ weights

    verdict = tried(quantised, [[-1, 16]], [[-1, 8]])
    assert verdict.wrong == []
    assert len(verdict.remarks) >= 1
    assert all("dynamic quantisation" in remark for remark in verdict.remarks)
    assert tried(lambda x: [quantised(x), quantised(x).argmax(1)], [[-1, 16]], [[-1, 8], [-1]]).wrong == []


def test_rounding_is_no_difference() -> None:
    weights = np.random.default_rng(2).normal(0, 1, (16, 8)).astype(np.float32)
    noise = itertools.cycle([1.0, 1 + 3e-5, 1 - 3e-5])
    passes(tried(lambda x: x @ weights * next(noise), [[-1, 16]], [[-1, 8]]))


def test_rows_that_are_padded_to_the_longest_are_served() -> None:
    def padded(x: Array) -> Array:
        lengths = np.clip((np.abs(x).sum(1) * 3).astype(int), 1, 40)
        rows = np.zeros((len(x), lengths.max()), np.float32)
        for row, length in zip(rows, lengths, strict=True):
            row[:length] = 1
        return rows

    verdict = tried(padded, [[-1, 4]], [[-1, -1]])
    assert verdict.wrong == []
    assert "as long as the longest of their batch" in verdict.remarks[0]


def test_the_trial_ends_when_it_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_trial, "SECONDS", 0.05)

    def slow(x: Array) -> Array:
        time.sleep(0.1)
        return x[::-1]

    verdict = tried(slow, [[-1, 4]], [[-1, 4]])
    assert (verdict.runs, verdict.wrong) == (2, [])
    assert "after 2 runs, as it took more than 0.05 s" in verdict.remarks[0]


def test_inputs_that_would_be_too_large_are_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_trial, "MOST_BYTES", 1000)
    verdict = tried(lambda x: x, [[-1, 10000]], [[-1, 10000]])
    assert not verdict.judged
    assert "would take more than" in verdict.remarks[0]


def test_models_of_texts() -> None:
    def texts(*arrays: Array) -> list[Array]:
        return [array.astype(object) for array in arrays]

    kept = tried(lambda x: texts(x, np.array(["a", "b"])), [[-1, 2]], [[-1, 2], [2]], dtypes="str")
    assert (kept.judged, kept.wrong, kept.whole_outputs) == (True, [], [1])
    turned = tried(lambda x: texts(x[::-1]), [[-1, 2]], [[-1, 2]], dtypes="str")
    assert len(turned.wrong) == 1
    assert "depends on more than its own instance" in turned.wrong[0]
    numbers = tried(lambda x: (x == "1").astype(np.int64), [[-1, 2]], [[-1, 2]], dtypes="str")
    assert (numbers.judged, numbers.wrong) == (True, [])
