"""Section 7 of the contract: what functions get, what they may return, zero-size tensors, str and bytes."""

from __future__ import annotations

import base64
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
    """Bad values must not cost the worker its life."""
    server = start_for_module("plain", "values", device_ids=0)
    workers = server.workers()
    yield server
    assert server.workers() == workers


@pytest.fixture(scope="module")
def foreign(stubs: Any, server: ServerProcess) -> Iterator[ForeignClient]:
    with ForeignClient(stubs, server.grpc) as client:
        yield client


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
    ("word", "texts"),
    [
        ("None", ["NoneType", "numpy arrays"]),
        ("dtype", ["dtype", "numpy arrays"]),
        ("complex", ["complex", "numpy arrays"]),
        ("complex array", ["complex128", "float64"]),
        ("object array", ["object", "float64"]),
        ("unicode array", ["<U1", "float64"]),
        ("datetime array", ["datetime64", "float64"]),
        ("dict", ["dict", "numpy arrays"]),
        ("large int", ["9223372036854775808", "int64"]),
        ("[1, 2, 0, 1]", ["(1, 2, 0, 1)", "only the last dimension may be 0"]),
        ("surrogate", ["surrogates"]),
        ("two values", ["a tuple of 2 values", "1 output"]),
        ("no value", ["a tuple of 0 values", "1 output"]),
    ],
)
def test_returned_values_that_are_errors_of_their_instance(foreign: ForeignClient, word: str, texts: list[str]) -> None:
    """The type or shape that came and what may come; the instance beside it is well."""
    bad, good = foreign.call("values", "give", {"kind": word}, {"kind": "int"})
    assert "Function 'values.give_value'" in bad["error"]
    for text in texts:
        assert text in bad["error"]
    assert good["y"] == 7


@pytest.mark.parametrize("shape", [(0,), (2, 0), (2, 3, 0)])
@pytest.mark.parametrize("method", ["untouched", "returned_as_it_came"])
def test_zero_as_the_last_dimension(foreign: ForeignClient, method: str, shape: tuple[int, ...]) -> None:
    (answer,) = foreign.call("values", method, {"x": np.zeros(shape, np.float16)})
    assert answer["y"].shape == shape
    assert answer["y"].dtype == np.float16


@pytest.mark.parametrize("shape", [(0, 1), (1, 2, 0, 1), (0, 0)])
def test_zero_in_another_dimension_is_an_error(foreign: ForeignClient, shape: tuple[int, ...]) -> None:
    text = whole_error(foreign.reply("values", "untouched", [{"x": np.zeros(shape, np.float32)}]))
    assert "'x'" in text
    assert str(list(shape)) in text
    assert "only the last one may be 0" in text


def test_bytes_through_a_function_are_a_uint8_tensor(foreign: ForeignClient) -> None:
    (answer,) = foreign.call("values", "returned_as_it_came", {"x": b"\x01\xff"})
    assert answer["y"].dtype == np.uint8
    assert answer["y"].tolist() == [1, 255]


def test_bytes_that_no_stage_touches_stay_bytes(foreign: ForeignClient) -> None:
    assert foreign.call("values", "untouched", {"x": b"\x01\xff"}) == [{"y": b"\x01\xff"}]


def test_str_through_a_function_stays_str(foreign: ForeignClient) -> None:
    assert foreign.call("values", "returned_as_it_came", {"x": "Grüße"}) == [{"y": "Grüße"}]


def test_python_scalars_of_the_client_have_shape_1(server: ServerProcess) -> None:
    answers = Client(server.grpc, "plain", "kind_of").infer([{"x": x} for x in (5, -1.5, True)])
    assert [answer["kind"] for answer in answers] == ["int64[1]", "float64[1]", "bool[1]"]


def test_numpy_numbers_of_the_client_have_shape_0(server: ServerProcess) -> None:
    numbers = [np.int8(1), np.uint64(2), np.float16(3), np.float64(4)]
    answers = Client(server.grpc, "plain", "kind_of").infer([{"x": x} for x in numbers])
    assert [answer["kind"] for answer in answers] == ["int8[]", "uint64[]", "float16[]", "float64[]"]


@pytest.mark.parametrize(
    "dtype",
    ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64"],
)
def test_every_type_by_rest_into_a_function_and_back(server: ServerProcess, dtype: str) -> None:
    x = np.array([[0, 1, 1], [1, 0, 1]]).astype(dtype)
    value = {"b64": base64.b64encode(x.tobytes()).decode(), "type": dtype, "shape": [2, 3]}
    url = f"http://{server.rest}/model/plain:kind_of"
    answer = requests.post(url, json={"instances": [{"x": value}]}, timeout=10)
    assert answer.json() == {"instances": [{"kind": f"{dtype}[2, 3]", "value": x.tolist()}]}


def test_every_type_at_its_limits(foreign: ForeignClient) -> None:
    limits = [np.array([np.iinfo(t).min, np.iinfo(t).max], t) for t in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")]
    limits += [
        np.array([np.finfo(t).min, np.finfo(t).max, np.finfo(t).smallest_subnormal, np.inf, -np.inf, -0.0, np.nan], t)
        for t in ("f2", "f4", "f8")
    ]
    answers = foreign.call("values", "returned_as_it_came", *({"x": x} for x in limits))
    for x, answer in zip(limits, answers, strict=True):
        assert answer["y"].dtype == x.dtype
        assert answer["y"].tobytes() == x.tobytes()
