"""What functions change in their inputs in place: seen when the batch is done, never by a call that is made again."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from support.in_process import InProcess

Given = tuple[tuple[np.ndarray], ...]


def instances(count: int, length: int = 2) -> list[tuple[np.ndarray]]:
    return [(np.full(length, number, np.float32),) for number in range(count)]


def refuse_five(given: Given) -> None:
    if any(x[0] == 6 for (x,) in given):
        raise ValueError("no 5")


def change_all(given: Given) -> list[np.ndarray]:
    for one in given:
        np.add(one[0], 1, out=one[0])
    refuse_five(given)
    return [x for (x,) in given]


def change_all_at_the_start(given: Given) -> Iterator[np.ndarray]:
    yield from change_all(given)


def change_ahead(given: Given) -> Iterator[np.ndarray]:
    """Changes three instances before it gives their results."""
    for start in range(0, len(given), 3):
        yield from change_all(given[start : start + 3])


def change_behind_numpys_back(given: Given) -> list[np.ndarray]:
    for (x,) in given:
        address = x.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        for index in range(x.size):
            address[index] += 1
    refuse_five(given)
    return [x for (x,) in given]


def change_the_shape(given: Given) -> list[np.ndarray]:
    for (x,) in given:
        assert x.ndim == 1
        x[:] += 1
        x.shape = (x.size, 1)
    if any(x[0, 0] == 6 for (x,) in given):
        raise ValueError("no 5")
    return [x.ravel() for (x,) in given]


@pytest.mark.parametrize("length", [2, 3000])  # many in a page, and several pages each
@pytest.mark.parametrize(
    "function",
    [
        change_all,
        change_all_at_the_start,
        change_ahead,
        change_behind_numpys_back,
        change_the_shape,
    ],
)
def test_a_call_that_is_made_again_sees_its_inputs_as_they_were(
    in_process: InProcess, function: Callable[..., Any], length: int
) -> None:
    in_process.function(function, batch_size=16)
    in_process.start()
    for _ in range(3):  # from the second time on it is known to change its inputs
        answers = in_process.infer(function.__name__, instances(12, length))
        assert isinstance(answers.pop(5), str)
        expected = [[n + 1] * length for n in range(12) if n != 5]
        assert [answer[0].tolist() for answer in answers] == expected


def test_each_request_sees_its_own_values(in_process: InProcess) -> None:
    """Pages that a function has written show the arena again when they are of another request."""

    def add(x: np.ndarray) -> np.ndarray:
        x += 1
        return x

    def look(x: np.ndarray) -> np.ndarray:
        return x

    in_process.function(add)
    in_process.function(look)
    in_process.start()
    for number in range(30):
        given = [(np.full(50, number + n, np.float32),) for n in range(8)]
        added, seen = in_process.infer("add", given), in_process.infer("look", given)
        assert [answer[0].tolist() for answer in added] == [[number + n + 1] * 50 for n in range(8)]
        assert [answer[0].tolist() for answer in seen] == [[number + n] * 50 for n in range(8)]


def test_writing_to_an_array_that_was_kept_changes_nobodys_values(in_process: InProcess) -> None:
    kept: list[np.ndarray] = []

    def spoil(x: np.ndarray) -> np.ndarray:
        result = x + 1
        for old in kept:
            old[:] = -1
        kept.append(x)
        return result

    def look(x: np.ndarray) -> np.ndarray:
        return x

    in_process.function(spoil)
    in_process.function(look)
    in_process.start()
    for number in range(10):
        given = [(np.full(600, number, np.float32),)]
        assert in_process.infer("spoil", given)[0][0].tolist() == [number + 1] * 600
        for old in kept:
            old[:] = -2
        assert in_process.infer("look", given)[0][0].tolist() == [number] * 600
