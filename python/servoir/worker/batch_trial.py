"""Trial runs of a model that has just been opened: is the first dimension of its inputs and outputs really the batch?

Instances of different clients share a batch, so a model whose rows depend on each other would give one client another's
numbers. Made-up instances are run in two batches, of different sizes where the model allows it, in different company
and at different places; and this twice, with other values. If the model was declared with an example, the same is done
with instances made of it. An output passes if every instance has the same row in each batch. An output that is the
same whatever the instances are, and has the same shape whatever the size of the batch, has no batch dimension: every
instance gets the whole of it.

A model that refuses made-up values, takes too long or gives other results each time cannot be judged. The verdict says
so, and the model is served as it was declared.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from servoir import log
from servoir.servable.declarations import DEFAULT_MODEL_BATCH, DeclaredModel
from servoir.servable.spec import DYNAMIC
from servoir.worker.batch_judgement import Array, Batch, Judgement, Round, Verdict
from servoir.worker.example import unlike_rows

if TYPE_CHECKING:
    from servoir.backends import Subgraph

Values: TypeAlias = Callable[[np.random.Generator, "np.dtype[Any]", Sequence[int]], Array]

SECONDS = 10.0  # that the trial of a model may take beyond its first run
WORTH_A_WARNING = 2.0  # seconds of a trial
# What dimensions that may be anything are tried as, in turn. Images often have to be multiples of 32. (Very small ones
# are no good: OpenVINO 2026.4 goes on to compute wrong values of PP-OCRv6 for all batches after one of width 7.)
LENGTHS = (32, 224)
MOST_BYTES = 256 << 20  # of the made-up values of an input


class _TooSlow(Exception):
    pass


def whole_outputs(
    model: DeclaredModel, number: int, subgraph: Subgraph, example: Sequence[Array] | None = None
) -> Sequence[int]:
    """The outputs without batch dimension: those that were declared, and those that a trial has found. RuntimeError if
    the trial shows that the model is not what its declaration says. `example`: see read_example()."""
    declared = model.without_batch_dim_outputs
    name = f"model '{model.key}'" + (f", subgraph {number}" if model.subgraph_count > 1 else "")
    if not model.with_batch_dim:
        return ()
    if not model.trial:
        log.warning(
            "%s: with trial=False it is not checked whether each output has a row for each instance of a batch, and"
            " whether a row depends on its own instance alone",
            name,
        )
        return declared
    verdict = _verdict(model, subgraph, example)
    if verdict is None:
        return declared
    if verdict.wrong:
        raise RuntimeError(
            f"{name}: {'; '.join(verdict.wrong)}. This was found by trial runs: the first dimension of inputs and"
            f" outputs has to be the batch, in which the instances of several requests are run together. In its"
            f" declare_model, with_batch_dim=False runs each instance on its own, without_batch_dim_inputs and"
            f" without_batch_dim_outputs name what has no batch dimension, and trial=False serves it as it is"
        )
    for remark in verdict.remarks:
        log.warning("%s: %s", name, remark)
    write = log.warning if verdict.seconds > WORTH_A_WARNING else log.info
    write(
        "%s: %d trial runs of its batches took %.0f ms of the start (trial=False of its declare_model leaves them out)",
        name,
        verdict.runs,
        verdict.seconds * 1e3,
    )
    for index in verdict.whole_outputs:
        port = subgraph.outputs[index]
        log.info("%s: output %d ('%s') has no batch dimension, each instance gets the whole", name, index, port["name"])
    return (*declared, *verdict.whole_outputs)


def _verdict(model: DeclaredModel, subgraph: Subgraph, example: Sequence[Array] | None) -> Verdict | None:
    """None where what the file says contradicts the declaration already."""
    from servoir import backends

    unbatched, declared = model.without_batch_dim_inputs, model.without_batch_dim_outputs
    if any(index >= len(subgraph.inputs) for index in unbatched):
        return None
    if any(index >= len(subgraph.outputs) for index in declared):
        return None
    every_output = range(len(subgraph.outputs))
    try:
        batch = backends.batch_size(subgraph, unbatched_inputs=unbatched, unbatched_outputs=every_output)
    except backends.BackendError:
        return None
    most = model.max_batch_size or DEFAULT_MODEL_BATCH

    def tried(size: int | None) -> Verdict:
        return try_batches(
            subgraph, batch=size, max_batch=most, unbatched_inputs=unbatched, whole=declared, example=example
        )

    verdict = tried(batch)
    if verdict.judged or batch is not None:
        return verdict
    # Perhaps only the outputs say what size a batch has.
    try:
        batch = backends.batch_size(subgraph, unbatched_inputs=unbatched, unbatched_outputs=declared)
    except backends.BackendError:
        return verdict
    if batch is None:
        return verdict
    return tried(batch)


def try_batches(
    subgraph: Subgraph,
    *,
    batch: int | None,
    max_batch: int,
    unbatched_inputs: Sequence[int],
    whole: Sequence[int],
    example: Sequence[Array] | None = None,
) -> Verdict:
    """`batch`: the size of the batches, None where it is dynamic. `whole`: the outputs that were declared to have no
    batch dimension."""
    verdict = Verdict()
    trial = _Trial(subgraph, _orders(batch, max_batch), unbatched_inputs, verdict, example)
    start = time.perf_counter()
    try:
        rounds = trial.rounds()
        verdict.judged = bool(rounds)
        if rounds:
            Judgement(subgraph, rounds, whole, trial.run, verdict).pronounce()
    except _TooSlow:
        verdict.remarks.append(f"its trial was ended after {verdict.runs} runs, as it took more than {SECONDS:g} s")
    verdict.seconds = time.perf_counter() - start
    return verdict


def _orders(batch: int | None, max_batch: int) -> tuple[list[int], list[int]]:
    """The instances of the two batches. Those that are in both have other neighbours in each; and places such that
    neither reversing nor shifting a batch gives them the same."""
    first = batch or min(max_batch, 3)
    second = batch or max(first - 1, 1)
    shared = [first - 1, 1][: second if second < first else second - 1]
    fresh = range(first, first + second - len(shared))
    return list(range(first)), [*shared, *fresh]


class _Trial:
    """Makes instances up and runs batches of them."""

    def __init__(
        self,
        subgraph: Subgraph,
        orders: tuple[list[int], list[int]],
        unbatched_inputs: Sequence[int],
        verdict: Verdict,
        example: Sequence[Array] | None,
    ) -> None:
        self._subgraph = subgraph
        self._orders = orders
        self._unbatched = unbatched_inputs
        self._verdict = verdict
        self._example = example
        self._instances = 1 + max(max(order) for order in orders)
        self._deadline = time.perf_counter() + SECONDS

    def rounds(self) -> list[Round]:
        """As many as the model runs; none, with a remark, if it runs with no values that are known here."""
        rounds, problem = self._made_up()
        if self._example is not None:
            try:
                for first in (0, self._instances):
                    rounds.append(self._round(unlike_rows(self._example, self._unbatched, self._instances, first)))
            except _TooSlow:
                raise
            except Exception as error:  # the model's, or the backend's
                self._verdict.remarks.append(f"it does not run with instances made of its example: {error}")
        if not rounds:
            self._verdict.remarks.append(
                f"it was not tried, as {problem}; declare_model(example=…) can say what it runs with"
            )
        return rounds

    def _made_up(self) -> tuple[list[Round], str]:
        """And why there is none, if so."""
        unknown = [port["name"] for port in self._subgraph.inputs if port["shape"] is None]
        if unknown and self._example is None:
            return [], f"its file does not say the shape of {_names(unknown)}"
        open_lengths = self._example is None and self._has_open_dimensions()
        lengths: Sequence[int] = LENGTHS if open_lengths else LENGTHS[:1]
        rounds = []
        problem = ""
        kinds: list[Values] = [_near_one, _of_both_signs]
        if not any(np.dtype(port["dtype"] or "float32").kind == "f" for port in self._subgraph.inputs):
            kinds.append(_of_both_signs)  # zeros and ones alone are often alike by chance
        for number, values in enumerate(kinds):
            for length in lengths:
                try:
                    rounds.append(self._round(self._make(values, length, np.random.default_rng(number))))
                except _TooSlow:
                    raise
                except Exception as error:  # the model's, or the backend's
                    problem = problem or str(error)
                    continue
                lengths = [length]
                break
        return rounds, f"it does not run with made-up values: {problem}"

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        if time.perf_counter() > self._deadline:
            raise _TooSlow
        results = self._subgraph.execute_copied(inputs)
        self._verdict.runs += 1
        if self._verdict.runs == 1:
            self._deadline = time.perf_counter() + SECONDS
        # Texts as arrays of their characters, which can be compared.
        return [result.astype(str) if result.dtype.kind == "O" else result for result in results]

    def _round(self, instances: Sequence[Array]) -> Round:
        return self._batch(instances, self._orders[0]), self._batch(instances, self._orders[1])

    def _batch(self, instances: Sequence[Array], rows: Sequence[int]) -> Batch:
        inputs = [
            array if index in self._unbatched else np.ascontiguousarray(array[list(rows)])
            for index, array in enumerate(instances)
        ]
        return Batch(rows, inputs, self.run(inputs))

    def _make(self, values: Values, length: int, random: np.random.Generator) -> list[Array]:
        """For each input the made-up instances, or the one value of an input without batch dimension."""
        made = []
        for index, port in enumerate(self._subgraph.inputs):
            if self._example is not None:
                row: Sequence[int] = self._example[index].shape
                shape = [*row] if index in self._unbatched else [self._instances, *row]
                dtype = self._example[index].dtype
            else:
                shape = [length if dim == DYNAMIC else dim for dim in port["shape"] or ()]
                if index not in self._unbatched:
                    shape[0] = self._instances
                dtype = np.dtype(port["dtype"] or "float32")
            if int(np.prod(shape, dtype=object)) * dtype.itemsize > MOST_BYTES:
                raise ValueError(f"values for input '{port['name']}' would take more than {MOST_BYTES >> 20} MiB")
            made.append(values(random, dtype, shape))
        return made

    def _has_open_dimensions(self) -> bool:
        return any(
            DYNAMIC in (port["shape"] or [])[0 if index in self._unbatched else 1 :]
            for index, port in enumerate(self._subgraph.inputs)
        )


def _near_one(random: np.random.Generator, dtype: np.dtype[Any], shape: Sequence[int]) -> Array:
    """Values that most models take: none is 0."""
    if dtype.kind != "f":
        return np.ones(shape, dtype)
    return random.uniform(0.5, 1.5, shape).astype(dtype)


def _of_both_signs(random: np.random.Generator, dtype: np.dtype[Any], shape: Sequence[int]) -> Array:
    """Unlike instances. The first, which is in one of the batches only, has the largest values, and most of them are
    negative. Integers are 0 and 1: indices of any table of two rows."""
    if dtype.kind != "f":
        return random.integers(0, 2, shape).astype(dtype)
    values = random.normal(0, 1, shape)
    if shape:
        lean = np.resize([-1.0, 1.0, 0.0], shape[0]).reshape(-1, *[1] * (len(shape) - 1))
        values = values + lean
        values[:1] *= 2
    return np.asarray(values).astype(dtype)


def _names(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
