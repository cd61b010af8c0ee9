"""How failures of functions are kept apart (the worker's function lane)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from support.arrays import floats, pairs

if TYPE_CHECKING:
    pass


def test_an_exception_fails_its_instance(call: Callable[..., Any]) -> None:
    def picky(x: np.ndarray) -> np.ndarray:
        if x[0] == 1:
            raise ValueError("one is bad")
        if x[0] == 2:
            raise KeyError
        if x[0] == 3:
            raise SystemExit("leaving")
        return x

    answers = call(picky, pairs(5))
    assert "ValueError: one is bad" in answers[1]
    assert "KeyError" in answers[2]
    assert "SystemExit: leaving" in answers[3]
    assert [answers[0][0].tolist(), answers[4][0].tolist()] == [[0, 0], [4, -4]]


def test_fewer_results_fail_the_rest(call: Callable[..., Any]) -> None:
    def first_only(given: Any) -> list[np.ndarray]:
        return [given[0][0]]

    answers = call(first_only, pairs(3), batch_size=8)
    # The batch may have been cut: at least one result each time.
    assert any("the function gave 1 result for" in answer for answer in answers[1:])
    assert answers[0][0].tolist() == [0, 0]


def test_another_type_for_the_batch_is_an_error(call: Callable[..., Any]) -> None:
    def stacked(given: Any) -> np.ndarray:
        return np.stack([x for (x,) in given])

    assert "the function returned numpy.ndarray; with batch_size it returns" in call(stacked, pairs(3), batch_size=8)


Given = tuple[tuple[np.ndarray], ...]


def leaving_out(given: Given) -> list[np.ndarray]:
    return [x for (x,) in given if x[0] not in {2, 5}]


def raising_at_once(given: Given) -> list[np.ndarray]:
    kept = leaving_out(given)
    if len(kept) < len(given):
        raise ValueError("no 2 and no 5")
    return kept


def raising_before_the_first(given: Given) -> Iterator[np.ndarray]:
    yield from raising_at_once(given)


def raising_ahead(given: Given) -> Iterator[np.ndarray]:
    """Looks at three instances before it gives their results, so what it raises comes too early."""
    for start in range(0, len(given), 3):
        yield from raising_at_once(given[start : start + 3])


def giving_nothing(given: Given) -> list[np.ndarray] | None:
    kept = leaving_out(given)
    return kept if len(kept) == len(given) else None


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (raising_at_once, "ValueError: no 2 and no 5"),
        (raising_before_the_first, "ValueError: no 2 and no 5"),
        (raising_ahead, "ValueError: no 2 and no 5"),
        (giving_nothing, "the function returned NoneType"),
    ],
)
def test_what_fails_as_a_batch_fails_only_the_guilty(
    call: Callable[..., Any], function: Callable[..., Any], text: str
) -> None:
    answers = call(function, pairs(12), batch_size=16)
    assert [type(answer) for answer in answers] == [str if n in {2, 5} else list for n in range(12)]
    assert [answer[0].tolist() for n, answer in enumerate(answers) if n not in {2, 5}] == [
        [n, -n] for n in range(12) if n not in {2, 5}
    ]
    assert text in answers[2]
    assert text in answers[5]


def test_results_of_several_shapes_survive_a_batch_that_fails(call: Callable[..., Any]) -> None:
    def grow(given: Given) -> Iterator[tuple[np.ndarray, str]]:
        for (x,) in given:
            if x[0] == 7:
                raise ValueError("no 7")
            yield np.full(int(x[0]) // 3, x[0]), "é" * int(x[0])

    answers = call(grow, pairs(12), outputs=2, batch_size=16)
    assert "ValueError: no 7" in answers.pop(7)
    expected = [[[n] * (n // 3), "é" * n] for n in range(12) if n != 7]
    assert [[answer[0].tolist(), answer[1]] for answer in answers] == expected


@pytest.mark.parametrize("function", [raising_at_once, raising_before_the_first])
def test_a_function_is_called_no_more_than_twice_an_instance(
    call: Callable[..., Any], function: Callable[..., Any]
) -> None:
    sizes = []

    def noted(given: Given) -> Any:
        sizes.append(len(given))
        return function(given)

    assert isinstance(call(noted, [(floats(2),)] * 11, batch_size=16), str)
    assert sizes[0] == 11
    assert sizes.count(1) == 11
    assert len(sizes) == 2 * 11 - 1


@pytest.mark.parametrize("function", [raising_at_once, raising_before_the_first, giving_nothing])
def test_without_rerun_a_batch_that_fails_is_called_once(call: Callable[..., Any], function: Any) -> None:
    sizes = []

    def noted(given: Given) -> Any:
        sizes.append(len(given))
        return function(given)

    error = call(noted, pairs(3), batch_size=3, rerun=False)  # one text, for all of them
    assert error.endswith("; its batch was not run again because of rerun=False")
    assert sizes == [3]


def test_without_rerun_a_generator_keeps_what_it_has_given(call: Callable[..., Any]) -> None:
    def picky(given: Given) -> Iterator[np.ndarray]:
        for (x,) in given:
            if x[0] == 1:
                raise ValueError("not 1")
            yield x

    answers = call(picky, pairs(3), batch_size=3, rerun=False)
    assert answers[0][0].tolist() == [0, 0]
    assert "not 1" in answers[1]


def test_an_exception_of_a_generator_costs_one_instance(call: Callable[..., Any]) -> None:
    calls = []

    def picky(given: Any) -> Iterator[np.ndarray]:
        calls.append([int(x[0]) for (x,) in given])
        for (x,) in given:
            if x[0] in {2, 5}:
                raise ValueError(f"{int(x[0])} is bad")
            yield x

    answers = call(picky, pairs(7), batch_size=8)
    assert [type(answer) for answer in answers] == [list, list, str, list, list, str, list]
    assert "2 is bad" in answers[2]
    assert "5 is bad" in answers[5]
    assert calls[-1] == [6]


def test_an_exception_of_the_call_fails_all_that_are_left(call: Callable[..., Any]) -> None:
    def broken(given: Any) -> list[np.ndarray]:
        raise ValueError("not today")

    assert "ValueError: not today" in call(broken, pairs(3), batch_size=8)
