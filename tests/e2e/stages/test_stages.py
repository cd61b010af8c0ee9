"""Stages of functions and models, and how instances share their batches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.arrays import floats
from support.foreign_client import ForeignClient, whole_error
from support.models import staged_models
from support.processes import wait_until
from support.servers import ServerProcess, Start, keeping_its_workers


@pytest.fixture(scope="module")
def staged(start_for_module: Start, servables: Path) -> Iterator[ServerProcess]:
    staged_models.make(servables / "staged")
    with keeping_its_workers(start_for_module("staged", "plain", device_ids=0)) as server:
        yield server


@pytest.fixture(scope="module")
def client(stubs: Any, staged: ServerProcess) -> Iterator[ForeignClient]:
    with ForeignClient(stubs, staged.grpc) as client:
        yield client


# ---- the flow of data


def test_any_value_any_number_of_times_and_inputs_that_no_stage_uses(client: ForeignClient) -> None:
    (answer,) = client.call("staged", "reuse", {"a": floats(1, 2), "unused": "x"})
    assert answer["y"].tolist() == answer["again"].tolist() == [1, 2]


def test_inputs_that_no_stage_uses_are_required(client: ForeignClient) -> None:
    text = whole_error(client.reply("staged", "reuse", [{"a": floats(1, 2)}]))
    assert "'unused'" in text
    assert "'reuse'" in text


def test_later_stages_come_first_and_all_in_one_thread(client: ForeignClient, tmp_path: Path) -> None:
    client.call("staged", "history", {"x": np.int64(0)})
    count = 12
    answers = client.call("staged", "in_order", *({"x": np.int64(i)} for i in range(count)))
    assert [int(answer["x"]) for answer in answers] == list(range(count))
    (history,) = client.call("staged", "history", {"x": np.int64(0)})
    runs = history["runs"].split(",")
    assert sorted(runs) == sorted(f"{name}{i}" for name in ("early", "late") for i in range(count))
    assert runs.index("late0") < runs.index(f"early{count - 1}"), runs
    # At most what was posted to the worker already lies between an instance's two stages.
    assert all(runs.index(f"late{i}") - runs.index(f"early{i}") <= 4 for i in range(count)), runs
    assert history["threads"] == 1


def test_models_run_while_the_python_thread_is_busy(client: ForeignClient, tmp_path: Path) -> None:
    request = client.request("staged", "hold", [{"directory": str(tmp_path)}])
    busy = client.stub.Predict.future(request, timeout=30)
    wait_until((tmp_path / "held").exists, 10, "a busy worker")
    (answer,) = client.call("staged", "add_pairs", {"a": floats(1, 2), "b": floats(3, 4)})
    assert answer["y"].tolist() == [4, 6]
    assert not busy.done()
    (tmp_path / "release").touch()
    assert busy.result().instances


# ---- functions


def test_batch_functions_get_a_tuple_of_tuples_of_inputs(client: ForeignClient) -> None:
    (answer,) = client.call("staged", "batch_kinds", {"x": floats(1)})
    assert answer["kinds"] == "tuple of tuple of 1"


def test_batch_size_zero_is_that_of_the_models(client: ForeignClient) -> None:
    """Inputs of the method only: the smallest, 2; else the largest, 5."""
    answers = client.call("staged", "counts", *({"x": floats(i, i)} for i in range(40)))
    assert max(int(answer["start"]) for answer in answers) == 2
    assert 2 < max(int(answer["end"]) for answer in answers) <= 5


def test_batch_size_zero_without_models_is_one(client: ForeignClient) -> None:
    answers = client.call("staged", "counts_without_models", *({"x": floats(i)} for i in range(10)))
    assert [int(answer["batch"]) for answer in answers] == [1] * 10


def test_a_batch_is_what_waits_up_to_the_limit(stubs: Any, staged: ServerProcess, tmp_path: Path) -> None:
    """5 instances with a batch size of 4 are 4 + 1."""
    with ForeignClient(stubs, staged.grpc) as client:
        busy = client.stub.Predict.future(client.request("plain", "hold", [{"directory": str(tmp_path)}]), timeout=30)
        wait_until(lambda: list(tmp_path.glob("held-*")), 10, "a busy worker")
        x = np.zeros(1, np.int32)
        call = client.stub.Predict.future(client.request("plain", "batch_add", [{"x1": x, "x2": x}] * 5), timeout=30)
        client.call("plain", "echo", {"a": "a", "b": "b"})  # so the one before it has been read
        (tmp_path / "release").touch()
        assert busy.result().instances
        answers = client.outputs(call.result(), 5)
    assert [int(answer["batch"]) for answer in answers] == [4, 4, 4, 4, 1]


def test_arrays_are_writable_and_contiguous_and_results_need_not_be(client: ForeignClient) -> None:
    (answer,) = client.call("staged", "arrays", {"x": floats(1, 2, 3)})
    assert answer["good"]
    assert answer["strided"].tolist() == [[2, 4], [2, 4]]
    assert answer["later"].tolist() == [12, 13, 14], "a later stage sees what was changed in place"


def words(client: ForeignClient, method: str, *given: str) -> list[str]:
    """For each instance its value, or the part of its error after the colon."""
    answers = client.call("staged", method, *({"word": word} for word in given))
    return [answer["y"] if "y" in answer else answer["error"] for answer in answers]


def test_more_items_than_instances_are_ignored(client: ForeignClient) -> None:
    assert words(client, "misbehaviour", "a", "b") == ["a", "b"]


def test_fewer_items_cost_those_without_one(client: ForeignClient) -> None:
    a, b, *rest = words(client, "misbehaviour", "a", "b", "stop", "c")
    assert (a, b) == ("a", "b")
    assert all("the function gave 2 results for 4 instances" in text for text in rest)


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("two", "the function returned a tuple of 2 values; declared: 1 output"),
        ("none", "NoneType"),
        ("complex", "complex"),
        ("raise", "ValueError: instance 1 wants it so"),
    ],
)
def test_a_bad_item_costs_its_instance(client: ForeignClient, word: str, text: str) -> None:
    before, bad, after, last = words(client, "misbehaviour", "a", word, "b", "c")
    assert (before, after, last) == ("a", "b", "c")
    assert text in bad
    assert "'misbehaviour'" in bad


def test_after_an_exception_the_function_is_called_with_those_that_are_left(client: ForeignClient) -> None:
    """Instance 2 of five is number 2 of the first call; the last is number 1 of the second."""
    _, _, first, _, second = words(client, "misbehaviour", "a", "b", "raise", "c", "raise")
    assert "instance 2 wants it so" in first
    assert "instance 1 wants it so" in second


def test_an_exception_before_the_first_result_costs_the_instance_that_causes_it(client: ForeignClient) -> None:
    a, bad, b = words(client, "failing_list", "a", "bad", "b")
    assert "ValueError: not this batch" in bad
    assert (a, b) == ("a", "b")


# ---- models


@pytest.mark.parametrize("shape", [(2,), (1, 2), (2, 1), (1, 1, 2)])
def test_an_instance_counts_by_type_and_size_not_by_shape(client: ForeignClient, shape: tuple[int, ...]) -> None:
    x = floats(1, 2).reshape(shape)
    (answer,) = client.call("staged", "add_pairs", {"a": x, "b": x})
    assert (answer["y"].shape, answer["y"].tolist()) == ((2,), [2, 4])


def test_shapes_may_differ_within_a_batch(client: ForeignClient) -> None:
    shapes = [(2,), (1, 2), (2, 1), (2,)]
    answers = client.call(
        "staged", "add_pairs", *({"a": floats(i, -i).reshape(s), "b": floats(1, 1)} for i, s in enumerate(shapes))
    )
    assert [answer["y"].tolist() for answer in answers] == [[i + 1, 1 - i] for i in range(4)]


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_a_short_batch_is_filled_up_and_the_surplus_dropped(client: ForeignClient, count: int) -> None:
    answers = client.call("staged", "add_pairs", *({"a": floats(i, 0), "b": floats(0, i)} for i in range(count)))
    assert [answer["y"].tolist() for answer in answers] == [[i, i] for i in range(count)]


def test_the_same_model_in_several_stages(client: ForeignClient) -> None:
    answers = client.call(
        "staged", "add_three", *({"a": floats(i, i), "b": floats(1, 2), "c": floats(10, 20)} for i in range(5))
    )
    assert [answer["y"].tolist() for answer in answers] == [[i + 11, i + 22] for i in range(5)]


def test_a_wrong_size_or_type_costs_its_instance(client: ForeignClient) -> None:
    good, size, kind, text, last = client.call(
        "staged",
        "add_pairs",
        {"a": floats(1, 2), "b": floats(1, 2)},
        {"a": floats(1, 2), "b": floats(1, 2, 3)},
        {"a": np.ones(2, np.int32), "b": floats(1, 2)},
        {"a": floats(1, 2), "b": "text"},
        {"a": floats(3, 4), "b": floats(1, 2)},
    )
    assert good["y"].tolist() == [2, 4]
    assert last["y"].tolist() == [4, 6]
    for error, what in ((size, ["'b'", "8 bytes", "12 bytes"]), (kind, ["'a'", "int32"]), (text, ["'b'", "str []"])):
        for word in [*what, "float32", "[2]", "Model 'pairs.onnx'"]:
            assert word in error["error"], error["error"]


def test_inputs_without_batch_dimension_are_passed_as_they_are(client: ForeignClient) -> None:
    """Differing ones never share a run, so each instance has its own."""
    answers = client.call(
        "staged", "scale", *({"x": floats(1, 2, 3), "factor": floats(factor)} for factor in (2, 2, 3, -1, 2))
    )
    assert [answer["y"].tolist() for answer in answers] == [[f, 2 * f, 3 * f] for f in (2, 2, 3, -1, 2)]


def test_without_batch_dimension_an_instance_is_the_whole_input(client: ForeignClient) -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    answers = client.call("staged", "add_whole", *({"a": x, "b": x * i} for i in range(3)))
    for i, answer in enumerate(answers):
        assert (answer["y"].shape, answer["y"].tolist()) == ((2, 3), (x * (1 + i)).tolist())


def test_a_model_stage_runs_subgraph_zero(client: ForeignClient) -> None:
    (answer,) = client.call("staged", "first_subgraph", {"x": floats(1, -2)})
    assert answer["y"].tolist() == [-1, 2]
