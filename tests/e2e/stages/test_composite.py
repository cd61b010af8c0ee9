"""Methods of several stages: functions, batch functions and models, one after the other."""

from __future__ import annotations

import numpy as np
import pytest
from support.arrays import same
from support.foreign_client import ForeignClient
from support.models.exact_models import expected


def test_a_value_may_go_to_several_stages_and_outputs(foreign: ForeignClient) -> None:
    xs = [np.arange(n, dtype=np.float32) for n in (1, 2, 3, 3, 2, 1)]
    answers = foreign.call("plain", "chain", *({"x": x} for x in xs))
    for x, answer in zip(xs, answers, strict=True):
        assert same(answer["y"], x + 2)
        assert same(answer["middle"], x + 1)


def test_changes_in_place_are_seen_by_later_stages(foreign: ForeignClient) -> None:
    (answer,) = foreign.call("plain", "change_in_place", {"x": np.arange(4, dtype=np.int32)})
    assert same(answer["x"], np.zeros(4, np.int32))
    assert same(answer["y"], np.full(4, 7, np.int32))


def test_batch_functions_get_no_more_than_their_batch_size(foreign: ForeignClient) -> None:
    instances = [{"x1": np.full(3, i, np.int32), "x2": np.full(3, 100 * i, np.int32)} for i in range(10)]
    answers = foreign.call("plain", "batch_add", *instances)
    for i, answer in enumerate(answers):
        assert same(answer["sum"], np.full(3, 101 * i, np.int32))
        assert 1 <= answer["batch"] <= 4
    assert max(int(answer["batch"]) for answer in answers) == 4


def test_instances_of_different_shapes_in_one_request(foreign: ForeignClient) -> None:
    shapes = [(1,), (2, 2), (1,), (3, 1), (2, 2), (), (0,)]
    xs = [np.random.default_rng(i).random(shape, np.float32) for i, shape in enumerate(shapes)]
    answers = foreign.call("plain", "batch_add", *({"x1": x, "x2": x} for x in xs))
    for x, answer in zip(xs, answers, strict=True):
        assert same(answer["sum"], x + x)


def test_composite_of_python_and_models(foreign: ForeignClient) -> None:
    x = np.random.default_rng(0).integers(-9, 10, (11, 16)).astype(np.int32)
    answers = foreign.call("exact", "composite", *({"x": row} for row in x))
    y, _ = expected(x)
    for row, answer in zip(y, answers, strict=True):
        assert same(answer["y"], row)
        assert same(answer["minus"], -row)


@pytest.mark.parametrize("method", ["multiply", "multiply_by_four", "call_one"])
@pytest.mark.parametrize("count", [1, 3, 4, 5, 150])
def test_models_of_dynamic_and_fixed_batch(foreign: ForeignClient, method: str, count: int) -> None:
    x = np.random.default_rng(count).integers(-9, 10, (count, 16)).astype(np.float32)
    answers = foreign.call("exact", method, *({"x": row} for row in x))
    y, total = expected(x)
    for i, answer in enumerate(answers):
        assert same(answer["y"], y[i])
        assert same(answer["total"], total[i])
