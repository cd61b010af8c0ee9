"""Values and methods: what goes in, what functions see, what comes back; by our client, by grpcio, by REST."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest
import requests
from exact_models import expected
from foreign_client import DTYPES, ForeignClient
from server_process import ServerProcess
from servoir.client import Client


@pytest.fixture(scope="module")
def foreign(stubs: Any, server: ServerProcess) -> Any:
    with ForeignClient(stubs, server.grpc) as client:
        yield client


def post(server: ServerProcess, target: str, instances: Any) -> Any:
    answer = requests.post(f"http://{server.rest}/model/{target}", json={"instances": instances}, timeout=30)
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.status_code == 200, answer.text
    return answer.json()["instances"]


def same(got: Any, wanted: np.ndarray) -> bool:
    return bool(got.dtype == wanted.dtype and got.shape == wanted.shape and got.tobytes() == wanted.tobytes())


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


def test_a_value_may_go_to_several_stages_and_outputs(foreign: ForeignClient) -> None:
    xs = [np.arange(n, dtype=np.float32) for n in (1, 2, 3, 3, 2, 1)]
    answers = foreign.call("plain", "chain", *({"x": x} for x in xs))
    for x, answer in zip(xs, answers, strict=True):
        assert same(answer["y"], x + 2)
        assert same(answer["middle"], x + 1)


def test_changes_in_place_are_seen_by_later_stages(foreign: ForeignClient) -> None:
    (answer,) = foreign.call("plain", "change_in_place", {"x": np.arange(4, dtype=np.int32)})
    assert same(answer["x"], np.zeros(4, np.int32))
    assert same(answer["y"], np.full(4, 7, np.int32))


def test_batch_functions_get_no_more_than_their_batch_size(foreign: ForeignClient) -> None:
    instances = [{"x1": np.full(3, i, np.int32), "x2": np.full(3, 100 * i, np.int32)} for i in range(10)]
    answers = foreign.call("plain", "batch_add", *instances)
    for i, answer in enumerate(answers):
        assert same(answer["sum"], np.full(3, 101 * i, np.int32))
        assert 1 <= answer["batch"] <= 4
    assert max(int(answer["batch"]) for answer in answers) == 4


def test_instances_of_different_shapes_in_one_request(foreign: ForeignClient) -> None:
    shapes = [(1,), (2, 2), (1,), (3, 1), (2, 2), (), (0,)]
    xs = [np.random.default_rng(i).random(shape, np.float32) for i, shape in enumerate(shapes)]
    answers = foreign.call("plain", "batch_add", *({"x1": x, "x2": x} for x in xs))
    for x, answer in zip(xs, answers, strict=True):
        assert same(answer["sum"], x + x)


def test_composite_of_python_and_models(foreign: ForeignClient) -> None:
    x = np.random.default_rng(0).integers(-9, 10, (11, 16)).astype(np.int32)
    answers = foreign.call("exact", "composite", *({"x": row} for row in x))
    y, _ = expected(x)
    for row, answer in zip(y, answers, strict=True):
        assert same(answer["y"], row)
        assert same(answer["minus"], -row)


@pytest.mark.parametrize("method", ["multiply", "multiply_by_four", "call_one"])
@pytest.mark.parametrize("count", [1, 3, 4, 5, 150])
def test_models_of_dynamic_and_fixed_batch(foreign: ForeignClient, method: str, count: int) -> None:
    x = np.random.default_rng(count).integers(-9, 10, (count, 16)).astype(np.float32)
    answers = foreign.call("exact", method, *({"x": row} for row in x))
    y, total = expected(x)
    for i, answer in enumerate(answers):
        assert same(answer["y"], y[i])
        assert same(answer["total"], total[i])


@pytest.mark.parametrize("count", [1, 4, 100])
def test_model_call_with_many_instances(foreign: ForeignClient, count: int) -> None:
    rows = np.random.default_rng(count).integers(-9, 10, (count, 16)).astype(np.float32)
    (answer,) = foreign.call("exact", "call_many", {"rows": rows})
    assert same(answer["y"], expected(rows)[0])


def test_an_error_of_model_call_is_raised_in_the_function(foreign: ForeignClient) -> None:
    (answer,) = foreign.call("exact", "call_badly", {"x": np.zeros(16, np.float32)})
    assert "2 inputs" in answer["text"]
    assert "1" in answer["text"]


def test_our_client_sees_what_the_contract_says(server: ServerProcess) -> None:
    kind_of = Client(server.grpc, "plain", "kind_of")
    kinds = {
        "int64[1]": 5,
        "float64[1]": 2.5,
        "bool[1]": True,
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


def test_our_client_infer_async(server: ServerProcess) -> None:
    client = Client(server.grpc, "exact", "multiply")
    x = np.random.default_rng(8).integers(-9, 10, (50, 16)).astype(np.float32)
    calls = [client.infer_async({"x": row}) for row in x]
    for row, call in zip(expected(x)[0], calls, strict=True):
        assert same(call.result()[0]["y"], row)


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
