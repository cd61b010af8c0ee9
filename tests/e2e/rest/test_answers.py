"""Answers of REST: results as JSON, errors of instances and of requests."""

from __future__ import annotations

import json

import numpy as np
import pytest
import requests
from support.rest_client import GOOD, TARGET, Ask, b64, refused
from support.servers import ServerProcess


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
        ("unicode array", '["a","Grüße",""]'),
        ("unicode matrix", '[["a","e"],["b","f"]]'),
        ("array of bytes", '[{"b64":"YQ=="},{"b64":"/w=="}]'),
        ("no texts", "[[],[]]"),
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


ROW = '{"instances": [{"x": [1.0]}]}'


@pytest.mark.parametrize(
    ("path", "data", "status"),
    [
        ("/model/nowhere:picky", ROW, 404),
        ("/model/plain:nothing", ROW, 404),
        ("/model/plain/version/9:picky", ROW, 404),
        ("/model/plain", ROW, 400),
        ("/model/:picky", ROW, 400),
        ("/model/plain:", ROW, 400),
        ("/model/plain/version/-1:picky", ROW, 400),
        ("/model/plain/version/x:picky", ROW, 400),
        ("/plain:picky", ROW, 404),
        ("/model/plain:picky", "", 400),
        ("/model/plain:picky", "{", 400),
        ("/model/plain:picky", b"\xff\xfe\x00", 400),
        ("/model/plain:picky", "[]", 400),
        ("/model/plain:picky", "{}", 400),
        ("/model/plain:picky", '{"instances": []}', 400),
        ("/model/plain:picky", '{"instances": {}}', 400),
        ("/model/plain:picky", '{"instances": [{}]}', 400),
        ("/model/plain:picky", '{"instances": 3}', 400),
        ("/model/plain:picky", '{"instances": [1]}', 400),
        ("/model/plain:picky", '{"instances": [{"x": [1]}, 2]}', 400),
        ("/model/plain:picky", '{"instances": [{"y": [1]}]}', 400),
        ("/model/plain:picky", '{"instances": [{"x": null}]}', 400),
        ("/model/plain:picky", '{"instances": [{"x": [[], [1]]}]}', 400),
        ("/model/plain:picky", '{"instances": [{"x": [1, true]}]}', 400),
        ("/model/plain:picky", '{"instances": [{"x": [[1], [1, 2]]}]}', 400),
        ("/model/plain:picky", '{"instances": [{"x": 2147483648}]}', 400),
        ("/model/plain:picky", '{"instances": [{"x": {"b64": "AA"}}]}', 400),
        ("/model/plain:picky", '{"instances": [{"x": {"b64": "A!A="}}]}', 400),
        ("/model/plain:picky", '{"instances": [{"x": {"b64": "AAAA", "type": "complex"}}]}', 400),
        ("/model/plain:picky", '{"instances": [{"x": {"b64": "AAAA", "type": "float32"}}]}', 400),
        ("/model/plain:picky", '{"instances": [{"x": {"b64": "AAAA", "other": 1}}]}', 400),
        ("/model/plain:picky", '{"instances": [{"x": ' + "[" * 5000 + "1" + "]" * 5000 + "}]}", 400),
    ],
)
def test_rest_errors(ask: Ask, path: str, data: str | bytes, status: int) -> None:
    got, body = ask(path, data)
    assert set(body) == {"error_msg"}
    assert body["error_msg"]
    assert got == status, body


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_rest_takes_only_post(ask: Ask, method: str) -> None:
    status, body = ask("/model/plain:picky", ROW, method)
    assert status == 405
    assert "POST" in body["error_msg"]


def test_rest_error_of_one_instance(ask: Ask) -> None:
    status, body = ask("/model/plain:picky", '{"instances": [{"x": [1.0]}, {"x": [-1.0]}, {"x": [2.0]}]}')
    assert status == 200
    good, bad, other = body["instances"]
    assert good == {"y": [2.0]}
    assert other == {"y": [3.0]}
    assert "Preprocess Failed" in bad["error_msg"]


@pytest.mark.parametrize(("path", "status"), [("plain:picky", 200), ("plain:nowhere", 404)])
def test_an_answer_repeats_the_id_of_its_request(
    server: ServerProcess, session: requests.Session, path: str, status: int
) -> None:
    url = f"http://{server.rest}/model/{path}"
    answer = session.post(url, data=ROW, headers={"X-Request-ID": "mine 7"}, timeout=10)
    assert (answer.status_code, answer.headers["x-request-id"]) == (status, "mine 7")
    assert "x-request-id" not in session.post(url, data=ROW, timeout=10).headers
