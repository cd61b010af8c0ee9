"""What functions get and may return, and how their failures are kept apart (the worker's function lane)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import starmap
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from servoir.dtypes import DTYPES
from support.arrays import floats

if TYPE_CHECKING:
    from support.in_process import InProcess


def instances(count: int) -> list[tuple[np.ndarray]]:
    return [(floats(number, -number),) for number in range(count)]


@pytest.fixture
def call(in_process: InProcess) -> Callable[..., Any]:
    """Serves the function and calls it."""

    def run(function: Callable[..., Any], given: list[tuple[Any, ...]], **options: Any) -> Any:
        in_process.function(function, inputs=len(given[0]), **options)
        in_process.start()
        return in_process.infer(function.__name__, given)

    return run


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

    assert call(give, instances(3), outputs=2) == [["", b""], ["é", b"\0"], ["éé", b"\0\0"]]


def test_results_of_different_shapes_in_one_batch(call: Callable[..., Any]) -> None:
    def grow(x: np.ndarray) -> np.ndarray:
        return np.full(int(x[0]) % 3 + 1, x[0], np.int32)

    answers = call(grow, instances(30))
    assert [answer[0].tolist() for answer in answers] == [[n] * (n % 3 + 1) for n in range(30)]


def test_a_result_much_larger_than_its_input(call: Callable[..., Any]) -> None:
    def blow_up(x: np.ndarray) -> np.ndarray:
        return np.full(300_000, x[0])

    answers = call(blow_up, instances(20))
    assert [(answer[0].size, answer[0][0], answer[0][-1]) for answer in answers] == [(300_000, n, n) for n in range(20)]


def test_the_same_array_may_be_returned_again(call: Callable[..., Any]) -> None:
    buffer = np.zeros(2, np.float32)

    def reuse(x: np.ndarray) -> np.ndarray:
        buffer[:] = x
        return buffer

    assert [answer[0].tolist() for answer in call(reuse, instances(5))] == [[n, -n] for n in range(5)]


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

    good, bad, _ = call(give, instances(3), outputs=2)
    assert text in bad
    assert "declared: 2 outputs" in bad
    assert len(good) == 2


def test_one_output_may_come_in_a_list(call: Callable[..., Any]) -> None:
    def give(given: tuple[tuple[np.ndarray], ...]) -> Iterator[Any]:
        yield [1]
        yield (2,)
        yield 3

    assert [answer[0].item() for answer in call(give, instances(3), batch_size=8)] == [1, 2, 3]


def test_an_exception_fails_its_instance(call: Callable[..., Any]) -> None:
    def picky(x: np.ndarray) -> np.ndarray:
        if x[0] == 1:
            raise ValueError("one is bad")
        if x[0] == 2:
            raise KeyError
        if x[0] == 3:
            raise SystemExit("leaving")
        return x

    answers = call(picky, instances(5))
    assert "ValueError: one is bad" in answers[1]
    assert "KeyError" in answers[2]
    assert "SystemExit: leaving" in answers[3]
    assert [answers[0][0].tolist(), answers[4][0].tolist()] == [[0, 0], [4, -4]]


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
        answers = in_process.infer(function.__name__, instances(7))
        assert [answer[0].tolist() for answer in answers] == [[n + 1, -n + 1] for n in range(7)]


def test_more_results_than_instances_are_ignored(call: Callable[..., Any]) -> None:
    closed = []

    def endless(given: Any) -> Iterator[np.ndarray]:
        try:
            while True:
                yield given[0][0]
        finally:
            closed.append(True)

    assert [answer[0].tolist() for answer in call(endless, instances(1) * 3, batch_size=8)] == [[0, 0]] * 3
    assert closed


def test_fewer_results_fail_the_rest(call: Callable[..., Any]) -> None:
    def first_only(given: Any) -> list[np.ndarray]:
        return [given[0][0]]

    answers = call(first_only, instances(3), batch_size=8)
    # The batch may have been cut: at least one result each time.
    assert any("the function gave 1 result for" in answer for answer in answers[1:])
    assert answers[0][0].tolist() == [0, 0]


def test_another_type_for_the_batch_is_an_error(call: Callable[..., Any]) -> None:
    def stacked(given: Any) -> np.ndarray:
        return np.stack([x for (x,) in given])

    assert "the function returned numpy.ndarray; with batch_size it returns" in call(
        stacked, instances(3), batch_size=8
    )


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
    answers = call(function, instances(12), batch_size=16)
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

    answers = call(grow, instances(12), outputs=2, batch_size=16)
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

    error = call(noted, instances(3), batch_size=3, rerun=False)  # one text, for all of them
    assert error.endswith("; its batch was not run again because of rerun=False")
    assert sizes == [3]


def test_without_rerun_a_generator_keeps_what_it_has_given(call: Callable[..., Any]) -> None:
    def picky(given: Given) -> Iterator[np.ndarray]:
        for (x,) in given:
            if x[0] == 1:
                raise ValueError("not 1")
            yield x

    answers = call(picky, instances(3), batch_size=3, rerun=False)
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

    answers = call(picky, instances(7), batch_size=8)
    assert [type(answer) for answer in answers] == [list, list, str, list, list, str, list]
    assert "2 is bad" in answers[2]
    assert "5 is bad" in answers[5]
    assert calls[-1] == [6]


def test_an_exception_of_the_call_fails_all_that_are_left(call: Callable[..., Any]) -> None:
    def broken(given: Any) -> list[np.ndarray]:
        raise ValueError("not today")

    assert "ValueError: not today" in call(broken, instances(3), batch_size=8)


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
        in_process.infer("keep", instances(4))
    assert all(array.shape == (2,) for array in kept)
    assert capfd.readouterr().err.count("function 'keep' seems to keep an array") == 1


def test_a_model_call_outside_of_a_function_is_refused(in_process: InProcess) -> None:
    with pytest.raises(RuntimeError, match="only by a stage function"):
        in_process.runtime.call_model(0, [[floats(1)]])
