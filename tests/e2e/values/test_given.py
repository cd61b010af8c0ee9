"""What a function gets, and what passes unchanged: arrays of every type, str, bytes, zero-size tensors."""

from __future__ import annotations

import numpy as np
import pytest
from servoir.client import Client
from support.arrays import same
from support.foreign_client import DTYPES, ForeignClient
from support.servers import ServerProcess


@pytest.mark.parametrize("dtype", sorted(DTYPES))
@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 3), (2, 1, 3), (0,), (2, 0)])
def test_arrays_of_every_type_pass_unchanged(foreign: ForeignClient, dtype: str, shape: tuple[int, ...]) -> None:
    a = np.random.default_rng(5).integers(0, 2, shape).astype(dtype)
    b = (1 - a.astype(np.int8)).astype(dtype)
    (answer,) = foreign.call("plain", "echo", {"a": a, "b": b})
    assert same(answer["a"], a)
    assert same(answer["b"], b)


@pytest.mark.parametrize("dtype", sorted(DTYPES))
def test_functions_get_arrays_as_they_were_sent(foreign: ForeignClient, dtype: str) -> None:
    x = np.arange(6).reshape(2, 3).astype(dtype)
    (answer,) = foreign.call("plain", "kind_of", {"x": x})
    assert answer["kind"] == f"{dtype}[2, 3]"
    assert same(answer["value"], x)


def test_str_and_bytes_pass_unchanged(foreign: ForeignClient) -> None:
    (answer,) = foreign.call("plain", "echo", {"a": "Grüße, 世界", "b": b"\x00\xff\x80"})
    assert answer == {"a": "Grüße, 世界", "b": b"\x00\xff\x80"}
    (answer,) = foreign.call("plain", "echo", {"a": "", "b": b""})
    assert answer == {"a": "", "b": b""}


def test_functions_get_str_as_str_and_bytes_as_uint8(foreign: ForeignClient) -> None:
    (text,) = foreign.call("plain", "kind_of", {"x": "Ärger"})
    assert text == {"kind": "str", "value": "Ärger"}
    (data,) = foreign.call("plain", "kind_of", {"x": b"\x01\xfe"})
    assert data["kind"] == "uint8[2]"
    assert same(data["value"], np.array([1, 254], np.uint8))


@pytest.mark.parametrize(
    ("sent", "kind"),
    [
        (np.array(["x", "yy"]), "object[2] str ['x', 'yy']"),
        (np.array([["x", ""], ["Grüße", "z"]]), "object[2, 2] str [['x', ''], ['Grüße', 'z']]"),
        (np.array([b"x", b"\xff\x00y"]), "object[2] bytes [b'x', b'\\xff\\x00y']"),
        (np.array([["x"]]), "object[1, 1] str [['x']]"),
    ],
)
def test_functions_get_arrays_of_texts_as_arrays_of_objects(
    foreign: ForeignClient, sent: np.ndarray, kind: str
) -> None:
    (answer,) = foreign.call("values", "texts", {"x": sent})
    assert answer["kind"] == kind
    assert same(answer["same"], sent)


def test_an_array_of_one_text_is_that_text(foreign: ForeignClient) -> None:
    """As in the predecessor, whose clients may send a str with the shape [1]."""
    (answer,) = foreign.call("values", "texts", {"x": np.array(["x"])})
    assert answer == {"kind": "str 'x'", "same": "x"}


def test_arrays_of_texts_of_one_shape_share_a_batch(foreign: ForeignClient) -> None:
    answers = foreign.call("values", "joined", {"x": np.array(["a", "bcd"])}, {"x": np.array(["ef", ""])})
    assert [answer["joined"] for answer in answers] == ["a+bcd", "ef+"]
    assert [answer["batch"] for answer in answers] == [2, 2]


@pytest.mark.parametrize("shape", [(0,), (2, 0), (2, 3, 0), (0, 1), (1, 2, 0, 1), (0, 0)])
@pytest.mark.parametrize("method", ["untouched", "returned_as_it_came"])
def test_any_dimension_may_be_zero(foreign: ForeignClient, method: str, shape: tuple[int, ...]) -> None:
    (answer,) = foreign.call("values", method, {"x": np.zeros(shape, np.float16)})
    assert answer["y"].shape == shape
    assert answer["y"].dtype == np.float16


def test_bytes_through_a_function_are_a_uint8_tensor(foreign: ForeignClient) -> None:
    (answer,) = foreign.call("values", "returned_as_it_came", {"x": b"\x01\xff"})
    assert answer["y"].dtype == np.uint8
    assert answer["y"].tolist() == [1, 255]


def test_bytes_that_no_stage_touches_stay_bytes(foreign: ForeignClient) -> None:
    assert foreign.call("values", "untouched", {"x": b"\x01\xff"}) == [{"y": b"\x01\xff"}]


def test_str_through_a_function_stays_str(foreign: ForeignClient) -> None:
    assert foreign.call("values", "returned_as_it_came", {"x": "Grüße"}) == [{"y": "Grüße"}]


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


def test_our_client_sees_what_the_contract_says(server: ServerProcess) -> None:
    kind_of = Client(server.grpc, "plain", "kind_of")
    kinds = {
        "int64[]": 5,
        "float64[]": 2.5,
        "bool[]": True,
        "float32[]": np.float32(3),
        "int8[2, 1]": np.ones((2, 1), np.int8),
        "str": "text",
        "uint8[3]": b"abc",
    }
    answers = kind_of.infer([{"x": value} for value in kinds.values()])
    assert [answer["kind"] for answer in answers] == list(kinds)
    (answer,) = Client(server.grpc, "plain", "scalars").infer({"x": np.array([-1.5])})
    assert {name: getattr(value, "shape", None) for name, value in answer.items()} == {
        "int": (),
        "float": (),
        "bool": (),
        "str": None,
        "bytes": None,
    }
    assert (answer["int"], answer["float"], answer["bool"]) == (-1, -1.5, False)
    assert (answer["str"], answer["bytes"]) == ("<-1.5>", b"\x00\xff-1.5")


def test_python_scalars_of_the_client_have_shape_0(server: ServerProcess) -> None:
    answers = Client(server.grpc, "plain", "kind_of").infer([{"x": x} for x in (5, -1.5, True)])
    assert [answer["kind"] for answer in answers] == ["int64[]", "float64[]", "bool[]"]


def test_numpy_numbers_of_the_client_have_shape_0(server: ServerProcess) -> None:
    numbers = [np.int8(1), np.uint64(2), np.float16(3), np.float64(4)]
    answers = Client(server.grpc, "plain", "kind_of").infer([{"x": x} for x in numbers])
    assert [answer["kind"] for answer in answers] == ["int8[]", "uint64[]", "float16[]", "float64[]"]
