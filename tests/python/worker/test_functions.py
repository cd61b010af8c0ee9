"""What functions get and may return (the worker's function lane)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import starmap
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from servoir.dtypes import DTYPES
from support.arrays import floats, pairs

if TYPE_CHECKING:
    from support.in_process import InProcess


def test_arguments_are_writable_contiguous_arrays(call: Callable[..., Any]) -> None:
    def describe(x: np.ndarray) -> str:
        return f"{type(x).__name__} {x.dtype} {x.shape} {x.flags.writeable} {x.flags.c_contiguous} {x.flags.aligned}"

    given = np.arange(6, dtype=np.int16).reshape(2, 3)
    assert call(describe, [(given,)]) == [["ndarray int16 (2, 3) True True True"]]


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_type_there_and_back(call: Callable[..., Any], dtype: str) -> None:
    def same(x: np.ndarray) -> np.ndarray:
        assert x.dtype == np.dtype(dtype)
        return x

    value = np.array([[0, 1], [1, 0]]).astype(dtype)
    answer = call(same, [(value,)])[0][0]
    assert answer.dtype == value.dtype
    assert np.array_equal(answer, value)


def test_str_is_str_and_bytes_are_an_array(call: Callable[..., Any]) -> None:
    def describe(text: str, data: np.ndarray) -> str:
        return f"{text!r} {data.dtype} {data.tolist()}"

    assert call(describe, [("né", b"\x00\xff"), ("", b"")]) == [["'né' uint8 [0, 255]"], ["'' uint8 []"]]


class Foreign:
    def __init__(self, value: Any) -> None:
        self._value = value

    def asnumpy(self) -> Any:
        return self._value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, np.array(True)),
        (7, np.array(7, np.int64)),
        (-(2**63), np.array(-(2**63), np.int64)),
        (0.5, np.array(0.5, np.float64)),
        (np.float16(1.5), np.array(1.5, np.float16)),
        (np.uint8(3), np.array(3, np.uint8)),
        (np.bool_(True), np.array(True)),
        (np.longlong(4), np.array(4, np.int64)),
        (np.arange(12).reshape(3, 4)[1:3, 2:3], np.array([[6], [10]])),
        (np.arange(6).reshape(2, 3).T, np.array([[0, 3], [1, 4], [2, 5]])),
        (np.array([1, 258], ">i2"), np.array([1, 258], np.int16)),
        (np.zeros((2, 0), np.int8), np.zeros((2, 0), np.int8)),
        (Foreign(np.array([1.0], np.float32)), np.array([1.0], np.float32)),
        (np.asfortranarray(np.eye(2, dtype=np.float32)), np.eye(2, dtype=np.float32)),
    ],
)
def test_values_that_may_be_returned(call: Callable[..., Any], value: Any, expected: np.ndarray) -> None:
    def give(x: np.ndarray) -> Any:
        return value

    answer = call(give, [(floats(0),)])[0][0]
    assert answer.dtype == expected.dtype
    assert answer.shape == expected.shape
    assert np.array_equal(answer, expected)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.array("é"), "é"),
        (np.array(b"a", object), b"a"),
        (np.array(["a", "bc"]), ["a", "bc"]),
        (np.array([["a", "b"], ["c", "d"]])[:, ::-1].T, [["b", "d"], ["a", "c"]]),
        (np.array([b"a", b"\xff"]), [b"a", b"\xff"]),
        (np.array([["a\0b", ""]], object), [["a\0b", ""]]),
        (np.array([], object), []),
        (Foreign(np.array(["a", "b"])), ["a", "b"]),
    ],
)
def test_texts_that_may_be_returned(call: Callable[..., Any], value: Any, expected: Any) -> None:
    def give(x: np.ndarray) -> Any:
        return value

    assert call(give, [(floats(0),)]) == [[expected]]


def test_arrays_of_texts_of_numpy_2(call: Callable[..., Any]) -> None:
    if not hasattr(getattr(np, "dtypes", None), "StringDType"):
        pytest.skip("this NumPy has no StringDType")

    def give(x: np.ndarray) -> Any:
        return np.array(["a", "größe"], np.dtypes.StringDType())

    assert call(give, [(floats(0),)]) == [[["a", "größe"]]]


def test_texts_of_many_lengths_take_no_more_room_than_they_are_long(call: Callable[..., Any]) -> None:
    """50 MB in all; room for each length that doubles with the number of lengths would be many gigabytes."""

    def repeat(x: np.ndarray) -> Any:
        return "a" * int(x[0])

    lengths = range(100, 100_000, 100)
    answers = call(repeat, [(floats(length),) for length in lengths])
    assert [len(answer[0]) for answer in answers] == list(lengths)


def test_an_array_of_texts_may_be_kept(call: Callable[..., Any]) -> None:
    kept = []

    def keep(x: np.ndarray) -> Any:
        kept.append(x)
        return np.array([text + b"!" for text in kept[0]])

    given = [(np.array([text, b"b"], "S"),) for text in (b"a", b"c")]
    assert call(keep, given) == [[[b"a!", b"b!"]], [[b"a!", b"b!"]]]
    assert [array.tolist() for array in kept] == [[b"a", b"b"], [b"c", b"b"]]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "NoneType"),
        (np.dtype("float32"), "numpy.dtype"),
        (1j, "complex"),
        (np.array([1j]), "complex128"),
        (np.array([None]), "object"),
        (np.array(["a", 1], object), "an element of type int"),
        (np.array(["a", b"a"], object), "all must be alike"),
        (np.array(["a", "\ud800"], object), "surrogates not allowed"),
        (np.array(["2020"], "datetime64[D]"), "datetime64[D]"),
        (2**63, "does not fit int64"),
        (np.zeros((1,) * 9), "9 dimensions"),
        ("\ud800", "surrogates not allowed"),
        (Foreign([1]), "asnumpy() returned list"),
        ({"y": 1}, "a value of type dict, of which numpy makes an array of objects, cannot be sent"),
    ],
)
def test_values_that_may_not(call: Callable[..., Any], value: Any, text: str) -> None:
    def give(x: np.ndarray) -> Any:
        return value if x[0] == 1 else x

    bad, good = call(give, [(floats(1),), (floats(2),)])
    assert text in bad
    assert good[0].tolist() == [2]


def test_str_and_bytes_may_be_returned(call: Callable[..., Any]) -> None:
    def give(x: np.ndarray) -> tuple[str, bytes]:
        return "é" * int(x[0]), b"\0" * int(x[0])

    assert call(give, pairs(3), outputs=2) == [["", b""], ["é", b"\0"], ["éé", b"\0\0"]]


def test_results_of_different_shapes_in_one_batch(call: Callable[..., Any]) -> None:
    def grow(x: np.ndarray) -> np.ndarray:
        return np.full(int(x[0]) % 3 + 1, x[0], np.int32)

    answers = call(grow, pairs(30))
    assert [answer[0].tolist() for answer in answers] == [[n] * (n % 3 + 1) for n in range(30)]


def test_a_result_much_larger_than_its_input(call: Callable[..., Any]) -> None:
    def blow_up(x: np.ndarray) -> np.ndarray:
        return np.full(300_000, x[0])

    answers = call(blow_up, pairs(20))
    assert [(answer[0].size, answer[0][0], answer[0][-1]) for answer in answers] == [(300_000, n, n) for n in range(20)]


def test_the_same_array_may_be_returned_again(call: Callable[..., Any]) -> None:
    buffer = np.zeros(2, np.float32)

    def reuse(x: np.ndarray) -> np.ndarray:
        buffer[:] = x
        return buffer

    assert [answer[0].tolist() for answer in call(reuse, pairs(5))] == [[n, -n] for n in range(5)]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ((1, 2, 3), "a tuple of 3 values"),
        ([1], "a list of 1 value"),
        (1, "one value (int)"),
        ((), "a tuple of 0 values"),
    ],
)
def test_a_wrong_number_of_values(call: Callable[..., Any], value: Any, text: str) -> None:
    def give(x: np.ndarray) -> Any:
        return value if x[0] == 1 else [x, x]

    good, bad, _ = call(give, pairs(3), outputs=2)
    assert text in bad
    assert "declared: 2 outputs" in bad
    assert len(good) == 2


def test_one_output_may_come_in_a_list(call: Callable[..., Any]) -> None:
    def give(given: tuple[tuple[np.ndarray], ...]) -> Iterator[Any]:
        yield [1]
        yield (2,)
        yield 3

    assert [answer[0].item() for answer in call(give, pairs(3), batch_size=8)] == [1, 2, 3]


def test_batch_functions_get_a_tuple_of_tuples(call: Callable[..., Any]) -> None:
    def describe(given: Any) -> list[str]:
        return [f"{type(given).__name__} {type(one).__name__} {len(one)} {len(given) <= 4}" for one in given]

    given = [(floats(n), floats(n)) for n in range(9)]
    assert call(describe, given, batch_size=4) == [["tuple tuple 2 True"]] * 9


def test_batch_results_may_be_generator_list_tuple_or_iterator(in_process: InProcess) -> None:
    def generator(given: Any) -> Any:
        for (x,) in given:
            yield x + 1

    def as_list(given: Any) -> Any:
        return [x + 1 for (x,) in given]

    def as_tuple(given: Any) -> Any:
        return tuple(x + 1 for (x,) in given)

    def as_iterator(given: Any) -> Any:
        return starmap(lambda x: x + 1, given)

    for function in (generator, as_list, as_tuple, as_iterator):
        in_process.function(function, batch_size=3)
    in_process.start()
    for function in (generator, as_list, as_tuple, as_iterator):
        answers = in_process.infer(function.__name__, pairs(7))
        assert [answer[0].tolist() for answer in answers] == [[n + 1, -n + 1] for n in range(7)]


def test_more_results_than_instances_are_ignored(call: Callable[..., Any]) -> None:
    closed = []

    def endless(given: Any) -> Iterator[np.ndarray]:
        try:
            while True:
                yield given[0][0]
        finally:
            closed.append(True)

    assert [answer[0].tolist() for answer in call(endless, pairs(1) * 3, batch_size=8)] == [[0, 0]] * 3
    assert closed


def test_an_array_that_is_kept_does_not_break_anything(
    in_process: InProcess, capfd: pytest.CaptureFixture[str]
) -> None:
    kept = []

    def keep(x: np.ndarray) -> np.ndarray:
        kept.append(x)
        return x

    in_process.function(keep)
    in_process.start()
    for _ in range(3):
        in_process.infer("keep", pairs(4))
    assert all(array.shape == (2,) for array in kept)
    assert capfd.readouterr().err.count("function 'keep' seems to keep an array") == 1


def test_a_model_call_outside_of_a_function_is_refused(in_process: InProcess) -> None:
    with pytest.raises(RuntimeError, match="only by a stage function"):
        in_process.runtime.call_model(0, [[floats(1)]])
