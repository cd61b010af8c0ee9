"""What a function may return, and what is said of everything else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.arrays import same
from support.foreign_client import ForeignClient


def given(foreign: ForeignClient, word: str) -> Any:
    (answer,) = foreign.call("values", "give", {"kind": word})
    return answer["y"]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("int", np.array(7, np.int64)),
        ("negative int", np.array(-(2**63), np.int64)),
        ("float", np.array(0.5, np.float64)),
        ("bool", np.array(True)),
        ("numpy float16", np.array(1.5, np.float16)),
        ("numpy bool", np.array(True)),
        ("numpy int8", np.array(-3, np.int8)),
        ("array", np.arange(6, dtype=np.uint16).reshape(2, 3)),
        ("0-d array", np.array(2.5, np.float32)),
        ("strided array", np.array([[6], [10]], np.int32)),
        ("big-endian array", np.array([1, 258], np.int16)),
        ("asnumpy", np.array([[1.5], [2.5]], np.float16)),
        ("[0]", np.zeros(0, np.int16)),
        ("[2, 0]", np.zeros((2, 0), np.float64)),
        ("[1, 2, 0, 1]", np.zeros((1, 2, 0, 1), np.float32)),
        ("in a list", np.array(3, np.float32)),
    ],
)
def test_returned_numbers(foreign: ForeignClient, word: str, expected: np.ndarray) -> None:
    value = given(foreign, word)
    assert value.dtype == expected.dtype
    assert value.shape == expected.shape
    assert value.tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    ("word", "expected"), [("str", "Grüße"), ("empty str", ""), ("bytes", b"\x00\xff"), ("empty bytes", b"")]
)
def test_returned_str_and_bytes(foreign: ForeignClient, word: str, expected: str | bytes) -> None:
    assert given(foreign, word) == expected


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("unicode array", np.array(["a", "Grüße", ""])),
        ("unicode matrix", np.array([["a", "e"], ["b", "f"]])),
        ("array of bytes", np.array([b"a", b"\xff"])),
        ("array of str objects", np.array(["a", "bc"])),
        ("array of bytes objects", np.array([[b"\x00\xff", b""]])),
        ("no texts", np.zeros((2, 0), "U1")),
    ],
)
def test_returned_arrays_of_texts(foreign: ForeignClient, word: str, expected: np.ndarray) -> None:
    value = given(foreign, word)
    assert same(value, expected)


def test_a_text_in_an_array_without_dimensions_is_that_text(foreign: ForeignClient) -> None:
    assert given(foreign, "0-d unicode array") == "Grüße"


@pytest.mark.parametrize(
    ("word", "texts"),
    [
        ("None", ["NoneType", "numpy arrays"]),
        ("dtype", ["dtype", "numpy arrays"]),
        ("complex", ["complex", "numpy arrays"]),
        ("complex array", ["complex128", "float64"]),
        ("object array", ["object", "float64"]),
        ("mixed object array", ["str and of bytes", "alike"]),
        ("datetime array", ["datetime64", "float64"]),
        ("dict", ["dict", "numpy arrays"]),
        ("large int", ["9223372036854775808", "int64"]),
        ("surrogate", ["surrogates"]),
        ("two values", ["a tuple of 2 values", "1 output"]),
        ("no value", ["a tuple of 0 values", "1 output"]),
    ],
)
def test_returned_values_that_are_errors_of_their_instance(foreign: ForeignClient, word: str, texts: list[str]) -> None:
    """The error names the type or shape that came and what may come; the other instance has its answer."""
    bad, good = foreign.call("values", "give", {"kind": word}, {"kind": "int"})
    assert "Function 'values.give_value'" in bad["error"]
    for text in texts:
        assert text in bad["error"]
    assert good["y"] == 7


def test_python_scalars_str_and_bytes_as_results(foreign: ForeignClient) -> None:
    (answer,) = foreign.call("plain", "scalars", {"x": np.array([2.5], np.float32)})
    assert same(answer["int"], np.array(2, np.int64))
    assert same(answer["float"], np.array(2.5, np.float64))
    assert same(answer["bool"], np.array(True))
    assert answer["str"] == "<2.5>"
    assert answer["bytes"] == b"\x00\xff2.5"


def test_a_slice_as_result(foreign: ForeignClient) -> None:
    x = np.arange(16, dtype=np.int16).reshape(4, 4)
    (answer,) = foreign.call("plain", "slice_of", {"x": x})
    assert same(answer["y"], np.ascontiguousarray(x[1:3, 2:3]))
