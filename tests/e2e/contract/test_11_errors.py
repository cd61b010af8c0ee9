"""Section 11 of the contract: errors of a request and of its instances, and their texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import requests
from foreign_client import ForeignClient, whole_error
from server_process import ServerProcess
from servoir.client import Client

Start = Callable[..., ServerProcess]


@pytest.fixture(scope="module")
def server(start_for_module: Start) -> Iterator[ServerProcess]:
    """No error of these tests may cost a worker its life, or the server."""
    server = start_for_module("plain", "values", "exact", device_ids=0)
    workers = server.workers()
    yield server
    assert server.running()
    assert server.workers() == workers


@pytest.fixture(scope="module")
def foreign(stubs: Any, server: ServerProcess) -> Iterator[ForeignClient]:
    with ForeignClient(stubs, server.grpc) as client:
        yield client


def ints(*values: int) -> list[dict[str, Any]]:
    return [{"x": np.int32(value)} for value in values]


def test_the_text_for_a_failing_function_without_a_tag(foreign: ForeignClient) -> None:
    """Tag, method, number of the stage, and what the exception says."""
    text = whole_error(foreign.reply("values", "two_stages", ints(-2)))
    assert text == (
        "Call Function 'values.refuse_negative' Failed, method 'two_stages', stage 1: ValueError: -2 is negative"
    )


def test_the_text_for_a_failing_function_with_a_tag(foreign: ForeignClient) -> None:
    text = whole_error(foreign.reply("values", "two_stages", ints(3)))
    assert text == "Call Postprocess Failed, method 'two_stages', stage 2: KeyError: 'odd'"


def test_preprocess_failed(foreign: ForeignClient) -> None:
    """The phrase that the predecessor's documentation shows."""
    text = whole_error(foreign.reply("plain", "picky", [{"x": np.float32(-1)}]))
    assert text.startswith("Call Preprocess Failed, method 'picky', stage 1: ")
    assert "no negative numbers, please: -1.0" in text


def test_the_text_for_a_batch_function(foreign: ForeignClient) -> None:
    answers = foreign.call("plain", "picky_batch", *({"x": np.float32(x)} for x in (1, -1, 2)))
    assert "Call Function 'plain.refuse_negative_in_batch' Failed, method 'picky_batch'" in answers[1]["error"]


def test_each_instance_keeps_its_own_error(foreign: ForeignClient) -> None:
    answers = foreign.call("values", "two_stages", *ints(0, -1, 1, 2, -3))
    assert [int(answer["y"]) if "y" in answer else answer["error"][-14:] for answer in answers] == [
        0,
        "-1 is negative",
        "eyError: 'odd'",
        2,
        "-3 is negative",
    ]


@pytest.mark.parametrize("count", [1, 2, 20])
def test_the_same_error_everywhere_is_folded(foreign: ForeignClient, server: ServerProcess, count: int) -> None:
    """Also for one instance; by gRPC, for our client and by REST."""
    instances = ints(*[-1] * count)
    text = whole_error(foreign.reply("values", "two_stages", instances))
    assert "-1 is negative" in text
    assert Client(server.grpc, "values", "two_stages").infer(instances) == {"error": text}
    url = f"http://{server.rest}/model/values:two_stages"
    answer = requests.post(url, json={"instances": [{"x": -1}] * count}, timeout=10)
    assert answer.json() == {"error_msg": text}
    assert answer.status_code == 500


def test_errors_with_different_texts_are_not_folded(foreign: ForeignClient) -> None:
    answers = foreign.call("values", "two_stages", *ints(-1, -2))
    assert ["-1 is" in answers[0]["error"], "-2 is" in answers[1]["error"]] == [True, True]


def test_an_error_beside_a_success_is_not_folded(foreign: ForeignClient) -> None:
    answers = foreign.call("values", "two_stages", *ints(-1, -1, 0))
    assert ["error" in answer for answer in answers] == [True, True, False]


@pytest.mark.parametrize(
    ("method", "bad", "good", "texts"),
    [
        ("wrong_count", -1, 1, ["a tuple of 1 value", "declared: 2 outputs"]),
        ("wrong_kind", -1, 1, ["NoneType", "numpy arrays"]),
    ],
)
def test_a_wrong_result_is_an_error_of_its_instance(
    foreign: ForeignClient, method: str, bad: int, good: int, texts: list[str]
) -> None:
    """The predecessor ended the worker for good; ours goes on (the fixture looks at the workers)."""
    for _ in range(3):
        answers = foreign.call("plain", method, *({"x": np.float32(x)} for x in (good, bad, good)))
        assert [set(answer) == {"error"} for answer in answers] == [False, True, False]
        for text in texts:
            assert text in answers[1]["error"]


def test_a_wrong_result_of_a_batch_function(foreign: ForeignClient) -> None:
    answers = foreign.call("values", "batch_with_none", *ints(1, -1, 2))
    assert [set(answer) for answer in answers] == [{"y"}, {"error"}, {"y"}]
    assert "NoneType" in answers[1]["error"]


def test_too_few_results_of_a_batch_function(foreign: ForeignClient) -> None:
    """The last instance of each call is left out."""
    answers = foreign.call("plain", "too_few", *({"x": np.int32(x)} for x in range(8)))
    assert "results for" in answers[-1]["error"] or "result for" in answers[-1]["error"]
    assert int(answers[0]["y"]) == 0


@pytest.mark.parametrize(
    ("x", "texts"),
    [
        (np.zeros(15, np.float32), ["[15]", "[16]"]),
        (np.zeros((4, 5), np.float32), ["[4, 5]", "[16]"]),
        (np.zeros(16, np.float64), ["float64", "float32"]),
        (np.zeros(16, np.int32), ["int32", "float32"]),
        ("text", ["str", "float32"]),
    ],
    ids=["size", "larger", "float64", "int32", "str"],
)
def test_what_does_not_fit_the_model_is_an_error_of_its_instance(
    foreign: ForeignClient, x: Any, texts: list[str]
) -> None:
    """What came and what would fit; 400 by REST, because it is the request's fault."""
    good = np.zeros(16, np.float32)
    answers = foreign.call("exact", "multiply", {"x": good}, {"x": x}, {"x": good})
    assert ["error" in answer for answer in answers] == [False, True, False]
    for text in texts:
        assert text in answers[1]["error"]


def test_what_does_not_fit_the_model_by_rest(server: ServerProcess) -> None:
    answer = requests.post(
        f"http://{server.rest}/model/exact:multiply", json={"instances": [{"x": [1.0] * 15}]}, timeout=10
    )
    assert answer.status_code == 400
    assert "[15]" in answer.json()["error_msg"]
