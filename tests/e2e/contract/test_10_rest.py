"""Section 10 of the contract: REST; HTTP statuses are those of section 0."""

from __future__ import annotations

import base64
import http.client
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from server_process import ServerProcess, wait_until
from servoir.client import Client

Start = Callable[..., ServerProcess]
Json = Any
MIB = 1 << 20
GOOD = '{"instances": [{"x": 1}]}'
TARGET = "/model/values:untouched"


@pytest.fixture(scope="module")
def server(start_for_module: Start) -> Iterator[ServerProcess]:
    server = start_for_module("plain", "values", device_ids=0, options=("--max-mb", "1"))
    workers = server.workers()
    yield server
    assert server.workers() == workers


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        yield session


@pytest.fixture
def ask(server: ServerProcess, session: requests.Session) -> Callable[..., tuple[int, Json]]:
    """(status, JSON) for a path and a body, on a connection that stays."""

    def ask(path: str, data: str | bytes, method: str = "POST", **headers: str) -> tuple[int, Json]:
        answer = session.request(method, f"http://{server.rest}{path}", data=data, headers=headers, timeout=30)
        assert answer.headers["content-type"] == "application/json"
        return answer.status_code, answer.json()

    return ask


Ask = Callable[..., tuple[int, Json]]


def refused(ask: Ask, path: str, data: str | bytes, **more: Any) -> tuple[int, str]:
    """Status and text of an answer that is {"error_msg": text} and nothing else."""
    status, body = ask(path, data, **more)
    assert set(body) == {"error_msg"}, body
    assert isinstance(body["error_msg"], str)
    assert body["error_msg"]
    return status, body["error_msg"]


# ---- paths


@pytest.mark.parametrize(
    "path",
    [
        "/model/values:untouched",
        "/model/values/version/0:untouched",
        "/model/values/version/1:untouched",
        "/version/1/model/values:untouched",
        "/version/0/model/values:untouched",
        "/any/prefix/model/values:untouched",
        "/api/version/1/model/values:untouched",
        "/model/%76alues:untouched",
    ],
)
def test_accepted_paths(ask: Ask, path: str) -> None:
    assert ask(path, GOOD) == (200, {"instances": [{"y": 1}]})


@pytest.mark.parametrize(
    ("path", "status", "texts"),
    [
        ("/", 404, ["names no model", "/model/NAME[/version/VERSION]:METHOD"]),
        ("/values:untouched", 404, ["names no model", "/model/NAME[/version/VERSION]:METHOD"]),
        ("/models/values:untouched", 404, ["names no model"]),
        ("/v1/models/values:predict", 404, ["names no model"]),
        ("/model/values", 400, ["names no method", "/model/NAME"]),
        ("/model/values:", 400, ["names no method"]),
        ("/model/:untouched", 400, ["names no model"]),
        ("/model//version/1:untouched", 400, ["names no model"]),
        ("/model/values/version/-1:untouched", 400, ["'-1'", "0 to 4294967294"]),
        ("/model/values/version/4294967295:untouched", 400, ["'4294967295'", "0 to 4294967294"]),
        ("/model/values/version/one:untouched", 400, ["'one'", "no number"]),
        ("/model/values/version/:untouched", 400, ["''", "no number"]),
        ("/version/x/model/values:untouched", 400, ["'x'", "no number"]),
        ("/version//model/values:untouched", 400, ["no number"]),
        ("/model/values/version/7:untouched", 404, ["version 7 is not available", "running versions: 1"]),
        ("/model/values/version/4294967294:untouched", 404, ["running versions: 1"]),
        ("/model/nowhere:untouched", 404, ["'nowhere' is not available", "'values'"]),
        ("/model/values:nothing", 404, ["has no method 'nothing'", "'untouched'"]),
        ("/model/values:untouched?timeout=1", 404, ["'untouched?timeout=1'"]),
        ("/model/values:untouched/more", 404, ["'untouched/more'"]),
        ("/model/values:untouched/", 404, ["'untouched/'"]),
        ("/model/%FF%22:untouched", 404, ["is not available"]),
    ],
)
def test_refused_paths(ask: Ask, path: str, status: int, texts: list[str]) -> None:
    got, text = refused(ask, path, GOOD)
    assert got == status, text
    for part in texts:
        assert part in text


# ---- methods and bodies


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "NONSENSE"])
@pytest.mark.parametrize("path", [TARGET, "/", "/unknown/route"])
def test_only_post(server: ServerProcess, ask: Ask, method: str, path: str) -> None:
    status, text = refused(ask, path, b"", method=method)
    assert status == 405
    assert f"the method is {method}" in text
    assert "only POST" in text


def test_head_has_no_body_and_the_connection_goes_on(server: ServerProcess) -> None:
    with closing(http.client.HTTPConnection(server.rest, timeout=10)) as connection:
        connection.request("HEAD", TARGET)
        answer = connection.getresponse()
        assert (answer.status, answer.read(), answer.headers["Allow"]) == (405, b"", "POST")
        assert int(answer.headers["Content-Length"]) > 0
        connection.request("POST", TARGET, GOOD)
        assert connection.getresponse().status == 200


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/octet-stream", "nonsense", ""])
def test_the_content_type_does_not_matter(ask: Ask, content_type: str) -> None:
    assert ask(TARGET, GOOD, **{"Content-Type": content_type})[0] == 200


@pytest.mark.parametrize(
    ("body", "texts"),
    [
        (b"", ["empty"]),
        (b" \r\n", ["empty"]),
        (b"{", ["not JSON"]),
        (b'{"instances": [{"x": 1}]}}', ["not JSON"]),
        (b'{"instances": [{"x": 01}]}', ["not JSON"]),
        (b'{"instances": [{"x": NaN}]}', ["not JSON"]),
        (b"{'instances': [{'x': 1}]}", ["not JSON"]),
        (b"\xff\xfe\x00\x80", ["not JSON"]),
        (bytes(range(256)), ["not JSON"]),
        (b'{"instances": [{"x": "\xff"}]}', ["not JSON"]),
        (b'{"instances": [{"x": ' + b"[" * 5000 + b"1" + b"]" * 5000 + b"}]}", ["not JSON"]),
        (b"[]", ["an array", '{"instances": …}']),
        (b'"text"', ["a string", '{"instances": …}']),
        (b"{}", ['no "instances"']),
        (b'{"instance": [{"x": 1}]}', ['no "instances"']),
        (b'{"instances": []}', ["no instances", "at least one"]),
        (b'{"instances": {}}', ["lacks input 'x'"]),
        (b'{"instances": [{}]}', ["lacks input 'x'"]),
        (b'{"instances": 3}', ["an integer", "an array of instances"]),
        (b'{"instances": null}', ["null", "an array of instances"]),
        (b'{"instances": "x"}', ["a string", "an array of instances"]),
        (b'{"instances": [1]}', ["instance 0 is an integer", "an object"]),
        (b'{"instances": [[{"x": 1}]]}', ["instance 0 is an array", "an object"]),
        (b'{"instances": [{"x": 1}, 2]}', ["instance 1 is an integer", "an object"]),
        (b'{"instances": [{"x": 1}, {"y": 1}]}', ["instance 1 lacks input 'x'"]),
        (b'{"instances": [{"": 1, "x": 1}]}', ["instance 0", "empty name"]),
        (b'{"instances": {"": 1, "x": 1}}', ["empty name"]),
    ],
)
def test_bodies_that_are_no_request(ask: Ask, body: bytes, texts: list[str]) -> None:
    status, text = refused(ask, TARGET, body)
    assert status == 400
    for part in texts:
        assert part in text


@pytest.mark.parametrize(
    "body",
    [
        '{"instances": [{"x": 1}], "signature_name": "default", "more": {"instances": 2}}',
        '{"before": null, "instances": [{"x": 1}]}',
        '{"instances": {"x": 1}}',
        '{"instances": [{"x": 1, "unknown": {"whatever": []}}]}',
        '\r\n {"instances" : [ {"x":1} ] } \n',
    ],
)
def test_bodies_that_are_fine(ask: Ask, body: str) -> None:
    """Other keys, one object instead of an array, unknown inputs, spaces."""
    assert ask(TARGET, body) == (200, {"instances": [{"y": 1}]})


def test_order_of_the_checks(ask: Ask) -> None:
    """Method, size, JSON, path, content."""
    large = "x" * (MIB + 1)
    assert refused(ask, "/nonsense", large, method="PUT")[0] == 405
    assert refused(ask, "/nonsense", large)[0] == 413
    assert "not JSON" in refused(ask, "/nonsense", "x")[1]
    assert "names no model" in refused(ask, "/nonsense", "[]")[1]
    assert "an array" in refused(ask, "/model/nowhere:nothing", "[]")[1]


# ---- values of inputs


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
        ("[]", ["empty array", "base64"]),
        ("[[]]", ["empty array"]),
        ("[[], []]", ["empty array"]),
        ("[null]", ["null", "numbers or bools"]),
        ("[1, null]", ["null", "int32"]),
        ("[[1, 2], [3]]", ["ragged", "[2, 2]"]),
        ("[[1], 2]", ["ragged"]),
        ("[1, [2]]", ["int32", "an array"]),
        ("[1, 1.5]", ["int32", "a number with a fraction", "write 1.0"]),
        ("[1.5, 1]", ["float32", "an integer", "write 1.0"]),
        ("[true, 1]", ["bool", "an integer"]),
        ("[1, true]", ["int32", "a bool"]),
        ('[1, "a"]', ["int32", "a string"]),
        ('["a", "b"]', ["one string"]),
        ('[["a"]]', ["one string", "not nested"]),
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


def test_floats_beyond_float32_become_infinite(ask: Ask) -> None:
    assert ask("/model/plain:kind_of", '{"instances": [{"x": [1e39, -1e39, 1.0]}]}') == (
        200,
        {"instances": [{"kind": "float32[3]", "value": [None, None, 1.0]}]},
    )


# ---- base64


def b64(data: bytes, **more: Json) -> Json:
    return {"b64": base64.b64encode(data).decode()} | more


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
        ({"b64": "", "type": "uint8", "shape": [0, 2]}, ["0 before its last"]),
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
        ([{"b64": "AAAA"}, {"b64": "AAAA"}], ["one base64 object"]),
        ([{"b64": "AA==", "type": "uint8"}], ["only str and bytes", '"shape"']),
        ([[{"b64": "AAAA"}]], ["not nested"]),
    ],
    ids=str,
)
def test_base64_objects_that_are_none(ask: Ask, value: Json, texts: list[str]) -> None:
    """The predecessor never answered some of them; everything here is answered at once."""
    status, error = refused(ask, TARGET, json.dumps({"instances": [{"x": value}]}))
    assert status == 400
    for part in texts:
        assert part in error


# ---- answers


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("int", "7"),
        ("negative int", "-9223372036854775808"),
        ("float", "0.5"),
        ("bool", "true"),
        ("numpy float16", "1.5"),
        ("numpy int8", "-3"),
        ("array", "[[0,1,2],[3,4,5]]"),
        ("in a list", "3.0"),
        ("strided array", "[[6],[10]]"),
        ("asnumpy", "[[1.5],[2.5]]"),
        ("[0]", "[]"),
        ("[2, 0]", "[[],[]]"),
        ("str", '"Grüße"'),
        ("empty str", '""'),
        ("bytes", '{"b64":"AP8="}'),
        ("empty bytes", '{"b64":""}'),
    ],
)
def test_results(server: ServerProcess, session: requests.Session, word: str, text: str) -> None:
    body = json.dumps({"instances": [{"kind": word}]})
    answer = session.post(f"http://{server.rest}/model/values:give", data=body, timeout=10)
    assert answer.content.decode() == f'{{"instances":[{{"y":{text}}}]}}'


def test_what_is_no_number_is_null(ask: Ask) -> None:
    for dtype in ("float16", "float32", "float64"):
        x = np.array([np.nan, np.inf, -np.inf, 1], dtype)
        body = {"instances": [{"x": b64(x.tobytes(), type=dtype, shape=[4])}]}
        assert ask(TARGET, json.dumps(body))[1] == {"instances": [{"y": [None, None, None, 1.0]}]}


def test_instances_come_back_in_order_with_failed_ones_in_their_place(ask: Ask) -> None:
    body = json.dumps({"instances": [{"x": float(x)} for x in (1, -1, 2, -2, 3)]})
    status, answer = ask("/model/plain:picky", body)
    assert status == 200
    assert [set(instance) for instance in answer["instances"]] == [{"y"}, {"error_msg"}, {"y"}, {"error_msg"}, {"y"}]
    assert [answer["instances"][i]["y"] for i in (0, 2, 4)] == [2.0, 3.0, 4.0]
    assert "please: -2" in answer["instances"][3]["error_msg"]


@pytest.mark.parametrize("count", [1, 3])
def test_the_same_error_in_all_instances_is_one_at_the_top(ask: Ask, count: int) -> None:
    status, text = refused(ask, "/model/plain:picky", json.dumps({"instances": [{"x": -1.0}] * count}))
    assert status == 500
    assert "Preprocess Failed" in text


def test_different_errors_in_all_instances_stay_apart(ask: Ask) -> None:
    status, answer = ask("/model/plain:picky", '{"instances": [{"x": -1.0}, {"x": -2.0}]}')
    assert status == 500
    assert [set(instance) for instance in answer["instances"]] == [{"error_msg"}, {"error_msg"}]


def test_a_result_that_cannot_be_sent_is_the_servers_fault(ask: Ask) -> None:
    status, text = refused(ask, "/model/values:give", '{"instances": [{"kind": "None"}]}')
    assert status == 500
    assert "NoneType" in text


def test_an_error_text_with_any_character_is_json(ask: Ask) -> None:
    status, text = refused(ask, '/model/"\\%01é%00:m', GOOD)
    assert status == 404
    assert '"\\\x01é\x00' in text


# ---- HTTP


def test_a_connection_is_kept(server: ServerProcess) -> None:
    with closing(http.client.HTTPConnection(server.rest, timeout=10)) as connection:
        connection.connect()
        port = connection.sock.getsockname()[1]
        for path, status in ((TARGET, 200), ("/model/values", 400), ("/", 404), (TARGET, 200)):
            connection.request("POST", path, GOOD)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == status
            assert connection.sock is not None, "the server has closed the connection"
            assert connection.sock.getsockname()[1] == port


def test_chunked_bodies(server: ServerProcess) -> None:
    with closing(http.client.HTTPConnection(server.rest, timeout=10)) as connection:
        for size in (1, 7, 100):
            pieces = [GOOD[at : at + size].encode() for at in range(0, len(GOOD), size)]
            connection.request("POST", TARGET, iter(pieces), encode_chunked=True)
            answer = connection.getresponse()
            assert (answer.status, json.loads(answer.read())) == (200, {"instances": [{"y": 1}]})


def exchange(server: ServerProcess, *pieces: bytes) -> bytes:
    """Sends the pieces, the last one as the last, and reads until the server closes."""
    host, _, port = server.rest.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        for piece in pieces:
            connection.sendall(piece)
        data = b""
        while piece := connection.recv(65536):
            data += piece
        return data


def json_of(data: bytes) -> tuple[bytes, Json]:
    """Status line and body of the one answer in the data."""
    head, _, body = data.partition(b"\r\n\r\n")
    assert b"\r\nContent-Type: application/json\r\n" in head + b"\r\n"
    assert f"\r\nContent-Length: {len(body)}\r\n".encode() in head + b"\r\n"
    return head.split(b"\r\n")[0], json.loads(body)


def test_http_1_0(server: ServerProcess) -> None:
    head = f"POST {TARGET} HTTP/1.0\r\nContent-Length: {len(GOOD)}\r\n\r\n"
    assert json_of(exchange(server, head.encode(), GOOD.encode())) == (b"HTTP/1.0 200 OK", {"instances": [{"y": 1}]})


def test_connection_close(server: ServerProcess) -> None:
    head = f"POST {TARGET} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(GOOD)}\r\n\r\n"
    data = exchange(server, head.encode(), GOOD.encode())
    assert json_of(data)[0] == b"HTTP/1.1 200 OK"
    assert b"\r\nConnection: close\r\n" in data


def test_expect_100_continue(server: ServerProcess) -> None:
    host, _, port = server.rest.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        head = f"POST {TARGET} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {len(GOOD)}\r\n"
        connection.sendall((head + "Connection: close\r\n\r\n").encode())
        interim = b"HTTP/1.1 100 Continue\r\n\r\n"
        assert connection.recv(len(interim), socket.MSG_WAITALL) == interim
        connection.sendall(GOOD.encode())
        data = b""
        while piece := connection.recv(65536):
            data += piece
    assert json_of(data) == (b"HTTP/1.1 200 OK", {"instances": [{"y": 1}]})


@pytest.mark.parametrize(("method", "status"), [("GET", b"405 Method Not Allowed"), ("POST", b"413 Content Too Large")])
def test_expect_100_continue_that_is_refused(server: ServerProcess, method: str, status: bytes) -> None:
    head = f"{method} {TARGET} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {MIB + 1}\r\n\r\n"
    line, body = json_of(exchange(server, head.encode()))
    assert line == b"HTTP/1.1 " + status
    assert set(body) == {"error_msg"}


def test_requests_sent_ahead_are_answered_in_order(server: ServerProcess) -> None:
    def request(number: int, more: str = "") -> bytes:
        body = f'{{"instances": [{{"x": {number}}}]}}'
        return f"POST {TARGET} HTTP/1.1\r\nHost: x\r\n{more}Content-Length: {len(body)}\r\n\r\n{body}".encode()

    data = exchange(server, b"".join(request(i) for i in range(20)) + request(20, "Connection: close\r\n"))
    bodies = [json.loads(part.split(b"HTTP/1.1")[0]) for part in data.split(b"\r\n\r\n")[1:]]
    assert [body["instances"][0]["y"] for body in bodies] == list(range(21))


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"POST\r\n\r\n", b"400"),
        (b"POST / HTTP/9.9\r\n\r\n", b"400"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100), b"400"),  # TLS
        (b"POST / HTTP/1.1\r\nbad header\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n{}", b"501"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", b"501"),
        (b"POST / HTTP/1.1\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b", b"415"),
        (b"POST / HTTP/1.1\r\nX: " + b"y" * 20_000 + b"\r\n\r\n", b"431"),
        (b"POST /" + b"y" * 20_000 + b" HTTP/1.1\r\n\r\n", b"431"),
    ],
    ids=lambda value: repr(value[:60]),
)
def test_what_is_no_http_gets_an_answer_in_json(server: ServerProcess, request_bytes: bytes, status: bytes) -> None:
    line, body = json_of(exchange(server, request_bytes))
    assert line.split(b" ")[1] == status
    assert set(body) == {"error_msg"}


def test_a_body_over_the_limit_names_it_and_the_connection_goes_on(server: ServerProcess, ask: Ask) -> None:
    status, text = refused(ask, TARGET, " " * (MIB + 1))
    assert status == 413
    assert f"{MIB} bytes" in text
    assert "max_msg_mb_size" in text
    assert ask(TARGET, GOOD)[0] == 200
    assert ask(TARGET, GOOD + " " * (MIB - len(GOOD)))[0] == 200, "a body of exactly the limit"


# ---- other statuses


def test_429_for_more_requests_than_may_wait(start: Start, tmp_path: Path) -> None:
    server = start("plain", device_ids=0, options=("--max-enqueued", "1"))
    held = http.client.HTTPConnection(server.rest, timeout=20)
    held.request("POST", "/model/plain:hold", json.dumps({"instances": [{"directory": str(tmp_path)}]}))
    wait_until(lambda: list(tmp_path.glob("held-*")), 10, "a busy worker")
    answer = requests.post(f"http://{server.rest}/model/plain:echo", data='{"instances": {"a": 1, "b": 2}}', timeout=10)
    assert (answer.status_code, answer.reason) == (429, "Too Many Requests")
    assert "1 are waiting" in answer.json()["error_msg"]
    (tmp_path / "release").touch()
    assert held.getresponse().status == 200
    held.close()


def test_503_before_anything_is_served(start_empty: ServerProcess) -> None:
    answer = requests.post(f"http://{start_empty.rest}{TARGET}", data=GOOD, timeout=10)
    assert (answer.status_code, answer.reason) == (503, "Service Unavailable")
    assert "servable 'values' is not available" in answer.json()["error_msg"]
    by_grpc = Client(start_empty.grpc, "values", "untouched").infer({"x": 1})
    assert by_grpc == {"error": answer.json()["error_msg"]}


@pytest.fixture
def start_empty(tmp_path: Path) -> Iterator[ServerProcess]:
    """Both servers, and no servable yet."""
    script = tmp_path / "empty.py"
    script.write_text(
        "import signal, sys\n"
        "from servoir import server\n"
        "server.start_grpc_server(sys.argv[2])\n"
        "server.start_restful_server(sys.argv[4])\n"
        "signal.pause()\n"
    )
    server = ServerProcess([str(script)], tmp_path)
    try:
        server.ready()
        yield server
    finally:
        server.kill()
