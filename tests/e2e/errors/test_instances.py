"""Errors of an instance: what is said, and that the others are answered."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import requests
from support.foreign_client import ForeignClient, whole_error
from support.models.exact_models import expected
from support.servers import ServerProcess


def ints(*values: int) -> list[dict[str, Any]]:
    return [{"x": np.int32(value)} for value in values]


# ---- the texts


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


def row(value: float) -> dict[str, np.ndarray]:
    return {"x": np.full(3, value, np.float32)}


def test_the_text_names_stage_method_and_exception(foreign: ForeignClient) -> None:
    text = whole_error(foreign.reply("plain", "picky", [row(-1)]))
    assert "Preprocess Failed" in text
    assert "picky" in text
    assert "no negative numbers, please: -1.0" in text
    text = whole_error(foreign.reply("plain", "picky_batch", [row(-1)]))
    assert "Function 'plain.refuse_negative_in_batch'" in text


# ---- functions that raise


@pytest.mark.parametrize("method", ["picky", "picky_batch"])
def test_a_function_that_raises_for_one_instance(foreign: ForeignClient, method: str) -> None:
    answers = foreign.call("plain", method, *(row(value) for value in (1, 2, -3, 4, -5, 6, 7, 8, 9, -10)))
    for value, answer in zip((1, 2, -3, 4, -5, 6, 7, 8, 9, -10), answers, strict=True):
        if value < 0:
            assert "please" in answer["error"]
            assert str(value) in answer["error"]
        else:
            assert answer["y"].tolist() == [value + 1] * 3


def test_each_instance_keeps_its_own_error(foreign: ForeignClient) -> None:
    answers = foreign.call("values", "two_stages", *ints(0, -1, 1, 2, -3))
    assert [int(answer["y"]) if "y" in answer else answer["error"][-14:] for answer in answers] == [
        0,
        "-1 is negative",
        "eyError: 'odd'",
        2,
        "-3 is negative",
    ]


# ---- wrong results


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


def test_wrong_number_of_values_for_one_instance(foreign: ForeignClient) -> None:
    good, bad, other = foreign.call("plain", "wrong_count", row(1), row(-1), row(2))
    assert good["z"].tolist() == [1] * 3
    assert "2" in bad["error"]
    assert other["y"].tolist() == [2] * 3


def test_no_value_for_one_instance(foreign: ForeignClient) -> None:
    good, bad, other = foreign.call("plain", "wrong_kind", row(1), row(-1), row(2))
    assert good["y"].tolist() == [1] * 3
    assert "None" in bad["error"]
    assert other["y"].tolist() == [2] * 3


def test_too_few_results(foreign: ForeignClient) -> None:
    """A batch function leaves the last instance of each call out."""
    answers = foreign.call("plain", "too_few", *(row(value) for value in range(8)))
    assert "error" in answers[-1]
    right = [answer for answer in answers if "y" in answer]
    assert right
    for value, answer in enumerate(answers):
        assert "error" in answer or answer["y"].tolist() == [value] * 3


# ---- what does not fit a model


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


@pytest.mark.parametrize("method", ["multiply", "multiply_by_four", "call_one"])
def test_an_instance_that_does_not_fit_the_model(foreign: ForeignClient, method: str) -> None:
    x = np.arange(16, dtype=np.float32)
    wrong_size, wrong_type = np.arange(15, dtype=np.float32), x.astype(np.float64)
    answers = foreign.call("exact", method, *({"x": v} for v in (x, wrong_size, x + 1, wrong_type, x + 2)))
    for index in (1, 3):
        assert "error" in answers[index]
    assert "float" in answers[3]["error"].lower()
    for add, index in enumerate((0, 2, 4)):
        assert answers[index]["y"].tolist() == expected(x + add)[0].tolist()
