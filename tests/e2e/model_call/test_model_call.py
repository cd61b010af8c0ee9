"""Model.call inside stage functions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.arrays import floats, same
from support.foreign_client import ForeignClient, whole_error
from support.models import staged_models
from support.models.exact_models import expected
from support.servers import ServerProcess, Start, keeping_its_workers


@pytest.fixture(scope="module")
def staged(start_for_module: Start, servables: Path) -> Iterator[ServerProcess]:
    """One worker with a device, two more without."""
    staged_models.make(servables / "staged")
    server = start_for_module("staged", device_ids=0, num_parallel_workers=3)
    assert len(server.workers()) == 3
    with keeping_its_workers(server):
        yield server


@pytest.fixture(scope="module")
def client(stubs: Any, staged: ServerProcess) -> Iterator[ForeignClient]:
    with ForeignClient(stubs, staged.grpc) as client:
        yield client


def test_the_inputs_of_one_instance_give_its_output(client: ForeignClient) -> None:
    answers = client.call("staged", "call_one", *({"a": floats(i, 0), "b": floats(1, i)} for i in range(7)))
    assert [answer["y"].tolist() for answer in answers] == [[i + 1, i] for i in range(7)]


def test_forms_of_results_and_subgraphs(client: ForeignClient) -> None:
    """One output is a value, several are a tuple; a list of instances gives a tuple of tuples, also for one output."""
    (answer,) = client.call("staged", "forms", {"x": floats(1, 2)})
    assert answer["kinds"] == ("ndarray; tuple of 2; tuple of 3, each tuple of 1; tuple of 2, each tuple of 2")
    negated, total, difference, twice, of_second, minus = answer["values"].tolist()
    assert negated == [-1, -2]
    assert (total, difference) == ([0, 0], [2, 4])
    assert twice == [1, 2]
    assert (of_second, minus) == ([0, 0], [-2, -4])


def loop(x: np.ndarray, count: int) -> list[float]:
    total = x
    for step in range(count):
        total = -total if step % 3 == 2 else total + x
    return [float(value) for value in total]


def test_calls_in_loops_and_branches_of_several_models(client: ForeignClient) -> None:
    given = [(floats(i, 1), count) for i, count in enumerate((0, 1, 2, 3, 4, 7, 10))]
    answers = client.call("staged", "loop", *({"x": x, "count": np.int64(count)} for x, count in given))
    assert [answer["y"].tolist() for answer in answers] == [loop(x, count) for x, count in given]


@pytest.mark.parametrize("count", [1, 2, 3, 101])
def test_any_number_of_instances_is_split_into_batches(client: ForeignClient, count: int) -> None:
    rows = np.arange(2 * count, dtype=np.float32).reshape(count, 2)
    (answer,) = client.call("staged", "call_many", {"rows": rows})
    assert answer["y"].tolist() == (2 * rows).tolist()


def test_inputs_may_be_whatever_a_stage_may_return(client: ForeignClient) -> None:
    (answer,) = client.call("staged", "call_kinds", {"x": floats(1, 2)})
    assert answer["y"].tolist() == [2, 4]


def test_inputs_count_by_type_and_size_not_by_shape(client: ForeignClient) -> None:
    (answer,) = client.call("staged", "call_shapes", {"x": floats(1, 2)})
    assert answer["y"].tolist() == [[2, 4]] * 4


BAD_CALLS = {
    "no argument": ["pairs.onnx", "2 inputs"],
    "empty list": ["pairs.onnx", "empty"],
    "an instance is no list": ["instance 1", "list or tuple", "ndarray"],
    "wrong count": ["instance 0 has 1 inputs", "the model has 2"],
    "wrong count in a list": ["instance 2 has 1 inputs", "the model has 2"],
    "wrong size": ["'b'", "float32", "8 bytes", "4 bytes"],
    "wrong type": ["'a'", "float32", "float64"],
    "wrong size in a list": ["instance 1", "'b'", "8 bytes", "4 bytes"],
    "no tensor": ["NoneType"],
    "unknown subgraph": ["negate.onnx;both.onnx", "no subgraph 2", "it has 2"],
    "subgraph below 0": ["'subgraph'", ">= 0", "-1"],
    "subgraph is no int": ["'subgraph'", "int", "'1'"],
    "not declared": ["stranger.onnx", "declare"],
}


@pytest.mark.parametrize("word", BAD_CALLS)
def test_bad_calls_raise_runtimeerror_in_the_function(client: ForeignClient, word: str) -> None:
    (answer,) = client.call("staged", "bad_call", {"word": word, "x": floats(1, 2)})
    assert answer["error"].startswith("RuntimeError: ")
    for text in BAD_CALLS[word]:
        assert text in answer["error"]
    assert answer["after"].tolist() == [2, 4], "the next call of the same function works"


def test_an_error_that_is_not_caught_is_that_of_the_instance(client: ForeignClient) -> None:
    text = whole_error(client.reply("staged", "uncaught", [{"word": "wrong count", "x": floats(1, 2)}]))
    assert "Call Function 'staged.call_uncaught' Failed" in text
    assert "instance 0 has 1 inputs" in text


def test_other_threads_cannot_call(client: ForeignClient) -> None:
    (answer,) = client.call("staged", "thread_call", {"x": floats(1, 2)})
    assert "in its own thread" in answer["error"]


def test_calls_of_extra_workers_go_to_the_one_with_the_device(client: ForeignClient) -> None:
    answers: list[dict[str, Any]] = []
    for _ in range(20):
        answers += client.call("staged", "whereabouts", *({"x": floats(i, -i)} for i in range(12)))
        if len({int(answer["pid"]) for answer in answers}) == 3:
            break
    assert {answer["device"] for answer in answers} == {"0", "none"}
    assert len({int(answer["pid"]) for answer in answers}) == 3
    for i, answer in enumerate(answers):
        assert answer["y"].tolist() == [2 * (i % 12), -2 * (i % 12)]


# ---- from a function of another servable


@pytest.mark.parametrize("count", [1, 4, 100])
def test_model_call_with_many_instances(foreign: ForeignClient, count: int) -> None:
    rows = np.random.default_rng(count).integers(-9, 10, (count, 16)).astype(np.float32)
    (answer,) = foreign.call("exact", "call_many", {"rows": rows})
    assert same(answer["y"], expected(rows)[0])


def test_an_error_of_model_call_is_raised_in_the_function(foreign: ForeignClient) -> None:
    (answer,) = foreign.call("exact", "call_badly", {"x": np.zeros(16, np.float32)})
    assert "2 inputs" in answer["text"]
    assert "1" in answer["text"]
