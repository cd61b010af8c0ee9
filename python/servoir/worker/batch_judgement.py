"""What the trial batches of a model show about each of its outputs: see batch_trial.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from servoir.servable.spec import DYNAMIC

if TYPE_CHECKING:
    from servoir.backends import Subgraph

Array: TypeAlias = npt.NDArray[Any]

# By how much an instance's rows may differ from batch to batch, in parts of the range of the output's values: by
# rounding, and by dynamic quantisation, for which the largest value of a batch is the measure of all its values.
ROUNDING = 1e-3
QUANTISATION = 0.05


@dataclass
class Verdict:
    whole_outputs: list[int] = field(default_factory=list)  # found to have no batch dimension
    wrong: list[str] = field(default_factory=list)  # what contradicts the declaration
    remarks: list[str] = field(default_factory=list)  # what could not be judged, or is worth knowing
    judged: bool = False  # batches were run and compared
    runs: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Batch:
    """A batch that was run: which of the made-up instances, in this order, and what came of it."""

    rows: Sequence[int]
    inputs: Sequence[Array]
    results: Sequence[Array]


Round: TypeAlias = tuple[Batch, Batch]  # with the same made-up instances


class Judgement:
    """Compares what the rounds gave for each output."""

    def __init__(
        self,
        subgraph: Subgraph,
        rounds: Sequence[Round],
        whole: Sequence[int],
        run: Callable[[Sequence[Array]], list[Array]],
        verdict: Verdict,
    ) -> None:
        self._outputs = subgraph.outputs
        self._rounds = rounds
        self._whole = whole
        self._run = run
        self._verdict = verdict
        self._repeated: list[list[Array]] | None = None  # the first batch of each round, run once more
        self._quantised = False

    def pronounce(self) -> None:
        # Those of floats first: they tell whether the model computes differently from batch to batch.
        order = sorted(range(len(self._outputs)), key=lambda index: self._results(index)[0].dtype.kind != "f")
        for index in order:
            if index in self._whole:
                self._judge_whole(index)
            elif not self._has_rows(index):
                self._without_rows(index)
            else:
                self._judge_rows(index)

    def _results(self, index: int) -> list[Array]:
        return [batch.results[index] for pair in self._rounds for batch in pair]

    def _has_rows(self, index: int) -> bool:
        return all(batch.results[index].shape[:1] == (len(batch.rows),) for pair in self._rounds for batch in pair)

    def _is_constant(self, index: int) -> bool:
        """Nothing of it comes from the instances, and the file does not say that its first dimension is open."""
        declared = self._outputs[index]["shape"]
        results = self._results(index)
        return (
            len(self._rounds) > 1
            and (declared is None or declared[:1] != [DYNAMIC])
            and results[0].size > 0
            and all(result.shape == results[0].shape for result in results)
            # In each round the first batch is of the same size, and the second.
            and all(len({result.tobytes() for result in results[which::2]}) == 1 for which in (0, 1))
        )

    def _judge_whole(self, index: int) -> None:
        if len(self._rounds) > 1 and not self._is_constant(index):
            self._verdict.remarks.append(
                f"output {self._name(index)}, declared to have no batch dimension, depends on the instances of a batch:"
                f" each of them gets what all of them together gave"
            )

    def _without_rows(self, index: int) -> None:
        if self._is_constant(index):
            self._verdict.whole_outputs.append(index)
            return
        first, second = self._rounds[0]
        self._verdict.wrong.append(
            f"output {self._name(index)} does not have a row for each instance: its shape is"
            f" {_shape(self._outputs[index]['shape'])} in the file, and"
            f" {_shape(first.results[index].shape)} and {_shape(second.results[index].shape)} for batches of"
            f" {len(first.rows)} and {len(second.rows)} instances"
        )

    def _judge_rows(self, index: int) -> None:
        for number, pair in enumerate(self._rounds):
            worst = _compare(pair, index)
            if worst is None or self._forgivable(number, index, worst):
                continue
            if self._is_constant(index):
                self._verdict.whole_outputs.append(index)
                return
            first, second = pair
            row = worst.row
            self._verdict.wrong.append(
                f"output {self._name(index)} depends on more than its own instance: the same instance gave"
                f" {worst.text} as number {first.rows.index(row)} of a batch of {len(first.rows)} and as number"
                f" {second.rows.index(row)} of another batch of {len(second.rows)}; its shape is"
                f" {_shape(self._outputs[index]['shape'])} in the file, and {_shape(first.results[index].shape)} and"
                f" {_shape(second.results[index].shape)} for these batches"
            )
            return

    def _forgivable(self, number: int, index: int, worst: _Difference) -> bool:
        """A difference that tells nothing about other instances; a remark says why."""
        name = self._name(index)
        if worst.everywhere and worst.part <= QUANTISATION:
            self._quantised = True
            remark = (
                f"rows of output {name} differ by {worst.part:.1%} of its range from batch to batch, as those of models"
                f" with dynamic quantisation do"
            )
        elif self._differs_when_repeated(number, index):
            remark = (
                f"output {name} is another one each time that the same batch is run, so whether its rows depend on"
                f" each other cannot be told"
            )
        elif self._quantised and self._results(index)[0].dtype.kind != "f":
            remark = f"rows of output {name} differ from batch to batch, as other outputs do by dynamic quantisation"
        elif worst.is_padding:
            remark = f"rows of output {name} are as long as the longest of their batch needs"
        else:
            return False
        if remark not in self._verdict.remarks:
            self._verdict.remarks.append(remark)
        return True

    def _differs_when_repeated(self, number: int, index: int) -> bool:
        if self._repeated is None:
            self._repeated = [self._run(first.inputs) for first, _ in self._rounds]
        first = self._rounds[number][0]
        again = Batch(first.rows, first.inputs, self._repeated[number])
        return _compare((first, again), index) is not None

    def _name(self, index: int) -> str:
        return f"{index} ('{self._outputs[index]['name']}')"


@dataclass(frozen=True)
class _Difference:
    """Between the rows of one instance in two batches."""

    row: int
    part: float  # of the range of the output's values
    everywhere: bool  # most of the values differ, as if by noise
    is_padding: bool  # one row is as the other is, and longer
    text: str


def _compare(pair: Round, index: int) -> _Difference | None:
    """The largest difference that is more than rounding."""
    first, second = pair
    one, other = first.results[index], second.results[index]
    worst: _Difference | None = None
    for row in first.rows:
        if row not in second.rows:
            continue
        found = _difference(row, one[first.rows.index(row)], other[second.rows.index(row)], _range(one, other))
        if found is not None and (worst is None or found.part > worst.part):
            worst = found
    return worst


def _range(*arrays: Array) -> float:
    """From the smallest of the values to the largest, or to 0; 0 of texts."""
    if arrays[0].dtype.kind == "U":
        return 0.0
    values = np.concatenate([array.ravel().astype(np.float64) for array in arrays])
    values = values[np.isfinite(values)]
    return float(max(values.max(), 0) - min(values.min(), 0)) if values.size else 0.0


def _difference(row: int, one: Array, other: Array, span: float) -> _Difference | None:
    if one.shape != other.shape:
        common = tuple(slice(0, min(dims)) for dims in zip(one.shape, other.shape, strict=False))
        alike = one.ndim == other.ndim and _difference(row, one[common], other[common], span) is None
        return _Difference(row, float("inf"), False, alike, f"{_shape(one.shape)} and {_shape(other.shape)}")
    if one.dtype.kind != "f":
        if np.array_equal(one, other):
            return None
        return _Difference(row, float("inf"), False, False, "other values")
    a, b = one.astype(np.float64), other.astype(np.float64)
    with np.errstate(invalid="ignore"):
        apart = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
        size = np.maximum(np.abs(a), np.abs(b))
        beyond = ~(apart <= ROUNDING * size + ROUNDING * ROUNDING * span)
    if not beyond.any():
        return None
    part = float(np.max(np.nan_to_num(apart, nan=np.inf)) / span) if span else float("inf")
    everywhere = bool(beyond.sum() * 2 >= np.count_nonzero(size))
    return _Difference(row, part, everywhere, False, "other values")


def _shape(dims: Sequence[int] | None) -> str:
    if dims is None:
        return "not told"
    return "[" + ", ".join("?" if dim == DYNAMIC else str(dim) for dim in dims) + "]"
