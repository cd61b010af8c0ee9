"""JSON and base64 values of REST requests, and the tensors that they make."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest
import requests
from support.models.exact_models import expected
from support.rest_client import TARGET, Ask, Json, b64, post, refused
from support.servers import ServerProcess


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("1", "int32[]", 1),
        ("-2147483648", "int32[]", -(2**31)),
        ("2147483647", "int32[]", 2**31 - 1),
        ("1.0", "float32[]", 1.0),
        ("1e2", "float32[]", 100.0),
        ("-0.5E-1", "float32[]", -0.05),
        ("true", "bool[]", True),
        ("false", "bool[]", False),
        ('"text"', "str", "text"),
        ('""', "str", ""),
        ('"\\u00e9\\n\\"\\ud83d\\ude00"', "str", 'é\n"😀'),
        ("[1]", "int32[1]", [1]),
        ("[1, 1.5]", "float32[2]", [1, 1.5]),
        ("[]", "float32[0]", []),
        ("[[], []]", "float32[2, 0]", [[], []]),
        ("[[1, 2], [3, 4], [5, 6]]", "int32[3, 2]", [[1, 2], [3, 4], [5, 6]]),
        ("[[[1.5]]]", "float32[1, 1, 1]", [[[1.5]]]),
        ("[true, false]", "bool[2]", [True, False]),
        ('["one"]', "str", "one"),
    ],
)
def test_values(ask: Ask, text: str, kind: str, value: Json) -> None:
    status, body = ask("/model/plain:kind_of", f'{{"instances": [{{"x": {text}}}]}}')
    assert (status, body) == (200, {"instances": [{"kind": kind, "value": value}]})
    assert type(body["instances"][0]["value"]) is type(value)


@pytest.mark.parametrize(
    ("text", "texts"),
    [
        ("null", ["null"]),
        ("[[], [1]]", ["ragged", "[2, 0]"]),
        ("[null]", ["null", "numbers or bools"]),
        ("[1, null]", ["null", "int32"]),
        ("[[1, 2], [3]]", ["ragged", "[2, 2]"]),
        ("[[1], 2]", ["ragged"]),
        ("[1, [2]]", ["an array at [1] is no int32"]),
        ("[1.5, 16777217]", ["16777217 at [1] does not fit float32"]),
        ("[true, 1]", ["the number 1 at [1] does not fit bool"]),
        ("[1, true]", ["a bool at [1] is no int32"]),
        ('[1, "a"]', ["a string at [1] is no int32"]),
        ('["a", 1]', ["an array of texts", "an integer"]),
        ('["a", {"b64": "YQ=="}]', ["str", "bytes", "alike"]),
        ('[["a", "b"], ["c"]]', ["ragged"]),
        ("2147483648", ["2147483648", "int32", '"type": "int64"']),
        ("-2147483649", ["-2147483649", "int32"]),
        ("[1, 9223372036854775808]", ["9223372036854775808", "int32"]),
        ("99999999999999999999", ["beyond 64 bits"]),
        ("1e999", ["beyond float64"]),
        ("[[[[[[[[[1]]]]]]]]]", ["dimensions"]),
    ],
)
def test_values_that_are_none(ask: Ask, text: str, texts: list[str]) -> None:
    status, error = refused(ask, TARGET, f'{{"instances": [{{"x": {text}}}]}}')
    assert status == 400
    for part in texts:
        assert part in error


@pytest.mark.parametrize(
    ("text", "kind", "same"),
    [
        ('["x", "yy"]', "object[2] str ['x', 'yy']", ["x", "yy"]),
        ('[["x"], ["\\"\\u00fc"]]', "object[2, 1] str [['x'], ['\"ü']]", [["x"], ['"ü']]),
        ('[["x"]]', "object[1, 1] str [['x']]", [["x"]]),
        (
            '[{"b64": "eA=="}, {"b64": "/wA="}]',
            "object[2] bytes [b'x', b'\\xff\\x00']",
            [{"b64": "eA=="}, {"b64": "/wA="}],
        ),
    ],
)
def test_arrays_of_texts(ask: Ask, text: str, kind: str, same: Json) -> None:
    status, body = ask("/model/values:texts", f'{{"instances": [{{"x": {text}}}]}}')
    assert (status, body) == (200, {"instances": [{"kind": kind, "same": same}]})


def test_floats_beyond_float32_become_infinite(ask: Ask) -> None:
    assert ask("/model/plain:kind_of", '{"instances": [{"x": [1e39, -1e39, 1.0]}]}') == (
        200,
        {"instances": [{"kind": "float32[3]", "value": [None, None, 1.0]}]},
    )


# ---- base64


TYPES = {
    "int8": "int8",
    "int16": "int16",
    "int32": "int32",
    "int64": "int64",
    "uint8": "uint8",
    "uint16": "uint16",
    "uint32": "uint32",
    "uint64": "uint64",
    "float16": "float16",
    "float32": "float32",
    "float64": "float64",
    "fp16": "float16",
    "fp32": "float32",
    "fp64": "float64",
    "bool": "bool",
}


@pytest.mark.parametrize("name", TYPES)
def test_base64_types(ask: Ask, name: str) -> None:
    x = np.array([[0, 1], [1, 0], [1, 1]]).astype(TYPES[name])
    body = {
        "instances": [
            {"x": b64(x.tobytes(), type=name, shape=[3, 2])},
            {"x": b64(x.tobytes()[: x.itemsize], type=name)},
        ]
    }
    status, answer = ask("/model/plain:kind_of", json.dumps(body))
    assert status == 200
    assert answer["instances"] == [
        {"kind": f"{TYPES[name]}[3, 2]", "value": x.tolist()},
        {"kind": f"{TYPES[name]}[]", "value": x.tolist()[0][0]},
    ]


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (b64(b"\x00\xff"), "uint8[2]"),  # bytes by default
        (b64(b"\x00\xff", type="bytes", shape=[1]), "uint8[2]"),
        (b64(b"\x00\xff", type="bytes", shape=[1, 1]), "uint8[2]"),
        (b64(b""), "uint8[0]"),
        (b64("né".encode(), type="str"), "str"),
        (b64(b"", type="str", shape=[]), "str"),
        ([b64(b"\x00\xff")], "uint8[2]"),
        ([b64("né".encode(), type="str")], "str"),
        (b64(b"", type="float32", shape=[0]), "float32[0]"),
        (b64(b"", type="int64", shape=[2, 0]), "int64[2, 0]"),
        (b64(b"\x01\x02", type="uint8", shape=[2]), "uint8[2]"),
    ],
    ids=str,
)
def test_base64_shapes_str_and_bytes(ask: Ask, value: Json, kind: str) -> None:
    status, answer = ask("/model/plain:kind_of", json.dumps({"instances": [{"x": value}]}))
    assert status == 200, answer
    assert answer["instances"][0]["kind"] == kind


@pytest.mark.parametrize(
    ("value", "texts"),
    [
        ({}, ['without "b64"']),
        ({"type": "int32"}, ['without "b64"']),
        ({"b64": 1}, ['"b64" is an integer', "a string"]),
        ({"b64": None}, ['"b64" is null', "a string"]),
        ({"b64": "AAAA", "dtype": "int8"}, ['"dtype"', "b64, type and shape"]),
        ({"b64": "AAAA", "type": 5}, ['"type" is an integer', "a string"]),
        ({"b64": "AAAA", "type": ""}, ['"type" is ""', "float32"]),
        ({"b64": "AAAA", "type": "Float32"}, ['"type" is "Float32"', "float32"]),
        ({"b64": "AAAA", "type": "string"}, ['"type" is "string"', "str or bytes"]),
        ({"b64": "AAAA", "type": "complex64"}, ["complex64"]),
        ({"b64": "AAAA", "type": "uint8", "shape": 3}, ['"shape" is an integer', "unsigned integers"]),
        ({"b64": "AAAA", "type": "uint8", "shape": [-1]}, ["-1", "unsigned integers"]),
        ({"b64": "AAAA", "type": "uint8", "shape": [1.1]}, ["1.1", "unsigned integers"]),
        ({"b64": "AAAA", "type": "uint8", "shape": ["abc"]}, ["abc", "unsigned integers"]),
        ({"b64": "AAAA", "type": "uint8", "shape": [[]]}, ["[]", "unsigned integers"]),
        ({"b64": "AAAA", "type": "uint8", "shape": [None]}, ["null", "unsigned integers"]),
        ({"b64": "AAAA", "type": "uint8", "shape": [2]}, ["2 bytes", "3 came"]),
        ({"b64": "AAAA", "type": "uint8"}, ["1 bytes", "3 came"]),
        ({"b64": "", "type": "float32"}, ["4 bytes", "0 came"]),
        ({"b64": "AAAA", "type": "bytes", "shape": [2]}, ["[2]", "one bytes value"]),
        ({"b64": "AAAA", "type": "str", "shape": [0]}, ["[0]", "one str value"]),
        ({"b64": "A"}, ["1 characters", "multiple of 4"]),
        ({"b64": "AA"}, ["2 characters", "multiple of 4"]),
        ({"b64": "A!A="}, ["'!'", "position 1"]),
        ({"b64": "AA-_"}, ["'-'", "position 2"]),
        ({"b64": "A==="}, ["'='"]),
        ({"b64": "=AAA"}, ["'='"]),
        ({"b64": "////", "type": "str"}, ["UTF-8", '"type": "bytes"']),
        ([{"b64": "AAAA"}, {"b64": "AAAA", "type": "str"}], ["first element is bytes", "another is str"]),
        ([{"b64": "AA==", "type": "uint8"}], ["only str and bytes", '"shape"']),
        ([[{"b64": "AAAA"}, {"b64": "AAAA"}], [{"b64": "AAAA"}]], ["ragged"]),
    ],
    ids=str,
)
def test_base64_objects_that_are_none(ask: Ask, value: Json, texts: list[str]) -> None:
    """The predecessor never answered some of them; everything here is answered at once."""
    status, error = refused(ask, TARGET, json.dumps({"instances": [{"x": value}]}))
    assert status == 400
    for part in texts:
        assert part in error


# ---- there and back


def test_rest_values(server: ServerProcess) -> None:
    answers = post(server, "plain:kind_of", [{"x": x} for x in (1, 1.5, True, "text", [[1, 2]], [1.0, 2e1], [False])])
    assert [answer["kind"] for answer in answers] == [
        "int32[]",
        "float32[]",
        "bool[]",
        "str",
        "int32[1, 2]",
        "float32[2]",
        "bool[1]",
    ]
    assert [answer["value"] for answer in answers] == [1, 1.5, True, "text", [[1, 2]], [1.0, 20.0], [False]]


def test_rest_base64(server: ServerProcess) -> None:
    x = np.arange(6, dtype=np.float64).reshape(2, 3)
    data = base64.b64encode(x.tobytes()).decode()
    (answer,) = post(server, "plain:kind_of", [{"x": {"b64": data, "type": "float64", "shape": [2, 3]}}])
    assert answer == {"kind": "float64[2, 3]", "value": x.tolist()}
    raw = base64.b64encode(b"\x00\x01\xff").decode()
    (answer,) = post(server, "plain:echo", [{"a": {"b64": raw}, "b": {"b64": raw, "type": "bytes"}}])
    assert answer == {"a": {"b64": raw}, "b": {"b64": raw}}


def test_rest_scalars_and_not_a_number(server: ServerProcess) -> None:
    (answer,) = post(server, "plain:scalars", [{"x": 2.5}])
    assert answer["int"] == 2
    assert answer["float"] == 2.5
    assert answer["bool"] is True
    assert base64.b64decode(answer["bytes"]["b64"]) == b"\x00\xff2.5"
    values = np.array([np.nan, np.inf, -np.inf, 1, 0.1], np.float32)
    data = base64.b64encode(values.tobytes()).decode()
    (answer,) = post(server, "plain:kind_of", [{"x": {"b64": data, "type": "fp32", "shape": [5]}}])
    assert answer["value"][:4] == [None, None, None, 1.0]
    assert np.float32(answer["value"][4]) == np.float32(0.1)


def test_rest_model_and_other_path_order(server: ServerProcess) -> None:
    x = np.arange(16) - 8
    y, total = expected(x.astype(np.float32))
    (answer,) = post(server, "exact:multiply", [{"x": x.astype(float).tolist()}])
    assert answer == {"y": y.tolist(), "total": float(total)}
    body = {"instances": {"x": x.tolist()}}
    for path in ("/model/exact/version/1:composite", "/version/1/model/exact:composite"):
        answer = requests.post(f"http://{server.rest}{path}", json=body, timeout=30).json()
        assert answer == {"instances": [{"y": y.tolist(), "minus": (-y).tolist()}]}


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
