"""Errors: of an instance, which leave the others alone, and of a request, with the right status and text."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import requests
from exact_models import expected
from foreign_client import PATH, ForeignClient, whole_error
from server_process import ServerProcess
from servoir.client import Client


@pytest.fixture(scope="module")
def foreign(stubs: Any, server: ServerProcess) -> Any:
    with ForeignClient(stubs, server.grpc) as client:
        yield client


def row(value: float) -> dict[str, np.ndarray]:
    return {"x": np.full(3, value, np.float32)}


@pytest.mark.parametrize("method", ["picky", "picky_batch"])
def test_a_function_that_raises_for_one_instance(foreign: ForeignClient, method: str) -> None:
    answers = foreign.call("plain", method, *(row(value) for value in (1, 2, -3, 4, -5, 6, 7, 8, 9, -10)))
    for value, answer in zip((1, 2, -3, 4, -5, 6, 7, 8, 9, -10), answers, strict=True):
        if value < 0:
            assert "please" in answer["error"]
            assert str(value) in answer["error"]
        else:
            assert answer["y"].tolist() == [value + 1] * 3


def test_the_text_names_stage_method_and_exception(foreign: ForeignClient) -> None:
    text = whole_error(foreign.reply("plain", "picky", [row(-1)]))
    assert "Preprocess Failed" in text
    assert "picky" in text
    assert "no negative numbers, please: -1.0" in text
    text = whole_error(foreign.reply("plain", "picky_batch", [row(-1)]))
    assert "Function 'plain.refuse_negative_in_batch'" in text


def test_wrong_number_of_values_for_one_instance(foreign: ForeignClient) -> None:
    good, bad, other = foreign.call("plain", "wrong_count", row(1), row(-1), row(2))
    assert good["z"].tolist() == [1] * 3
    assert "2" in bad["error"]
    assert other["y"].tolist() == [2] * 3


def test_no_value_for_one_instance(foreign: ForeignClient) -> None:
    good, bad, other = foreign.call("plain", "wrong_kind", row(1), row(-1), row(2))
    assert good["y"].tolist() == [1] * 3
    assert "None" in bad["error"]
    assert other["y"].tolist() == [2] * 3


def test_too_few_results(foreign: ForeignClient) -> None:
    """A batch function leaves the last instance of each call out."""
    answers = foreign.call("plain", "too_few", *(row(value) for value in range(8)))
    assert "error" in answers[-1]
    right = [answer for answer in answers if "y" in answer]
    assert right
    for value, answer in enumerate(answers):
        assert "error" in answer or answer["y"].tolist() == [value] * 3


@pytest.mark.parametrize("method", ["multiply", "multiply_by_four", "call_one"])
def test_an_instance_that_does_not_fit_the_model(foreign: ForeignClient, method: str) -> None:
    x = np.arange(16, dtype=np.float32)
    wrong_size, wrong_type = np.arange(15, dtype=np.float32), x.astype(np.float64)
    answers = foreign.call("exact", method, *({"x": v} for v in (x, wrong_size, x + 1, wrong_type, x + 2)))
    for index in (1, 3):
        assert "error" in answers[index]
    assert "float" in answers[3]["error"].lower()
    for add, index in enumerate((0, 2, 4)):
        assert answers[index]["y"].tolist() == expected(x + add)[0].tolist()


def test_a_bad_request_fails_alone_among_others(stubs: Any, server: ServerProcess) -> None:
    """Good and bad requests of many clients at the same time, so that they meet in batches."""
    wrong: list[str] = []

    def ask(number: int) -> None:
        with ForeignClient(stubs, server.grpc) as client:
            for i in range(60):
                bad = (i + number) % 3 == 0
                x = np.full(15 if bad else 16, number, np.float32)
                reply = client.reply("exact", "multiply", [{"x": x}])
                if bad:
                    if not reply.error_msg:
                        wrong.append(f"no error for a bad instance: {reply}")
                    continue
                got = client.outputs(reply, 1)[0]["y"]
                if got.tolist() != expected(x)[0].tolist():
                    wrong.append(f"{got} for {x}")

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, wrong[:3]


@pytest.mark.parametrize(
    ("servable", "method", "instances", "words"),
    [
        ("nowhere", "echo", [{"a": 1.0, "b": 2.0}], ["nowhere"]),
        ("plain", "nothing", [{"a": 1.0, "b": 2.0}], ["nothing"]),
        ("plain", "echo", [{"a": 1.0, "b": 2.0}, {"a": 1.0}], ["b"]),
        ("plain", "echo", [], ["instance"]),
    ],
)
def test_errors_of_the_whole_request(
    foreign: ForeignClient, servable: str, method: str, instances: list[dict[str, float]], words: list[str]
) -> None:
    text = whole_error(foreign.reply(servable, method, instances))
    for word in words:
        assert word in text


def test_unknown_version(foreign: ForeignClient) -> None:
    request = foreign.request("plain", "echo", [{"a": 1.0, "b": 2.0}], version=77)
    assert "77" in whole_error(foreign.stub.Predict(request, timeout=30))


def test_extra_inputs_are_ignored(foreign: ForeignClient) -> None:
    (answer,) = foreign.call("plain", "picky", {**row(1), "more": "text"})
    assert answer["y"].tolist() == [2] * 3


def test_tensors_that_contradict_themselves(foreign: ForeignClient) -> None:
    good = foreign.request("plain", "picky", [row(1)])

    def refused(**changes: Any) -> str:
        request = type(good)()
        request.CopyFrom(good)
        tensor = request.instances[0].items["x"]
        for name, value in changes.items():
            if name == "dims":
                tensor.shape.dims[:] = value
            elif name == "bytes_val":
                tensor.bytes_val[:] = value
            else:
                setattr(tensor, name, value)
        return whole_error(foreign.stub.Predict(request, timeout=30))

    assert "12" in refused(dims=[4])
    refused(dims=[-3])
    refused(dims=[2**62, 2**62])
    refused(dims=[2**63 - 1])
    refused(dtype=0)
    refused(dtype=99)
    refused(dtype=13)
    refused(bytes_val=[b"x"])
    refused(data=b"")
    refused(dtype=13, data=b"", bytes_val=[b"a", b"b"])


def test_all_instances_alike_become_one_error(server: ServerProcess) -> None:
    client = Client(server.grpc, "plain", "picky")
    answer = client.infer([row(-2), row(-2)])
    assert isinstance(answer, dict)
    assert "Preprocess Failed" in answer["error"]
    answer = client.infer([row(-2), row(-3)])
    assert isinstance(answer, list)
    assert "-2" in answer[0]["error"]
    assert "-3" in answer[1]["error"]


def test_our_client_gives_grpc_errors_as_text() -> None:
    answer = Client("127.0.0.1:1", "plain", "picky").infer(row(1))
    assert answer["error"].startswith("Grpc Error, (14, 'unavailable')")


def test_unknown_grpc_method(foreign: ForeignClient) -> None:
    import grpc

    for path in (PATH + "s", "/nothing.Here/Predict"):
        with pytest.raises(grpc.RpcError) as error:
            foreign.channel.unary_unary(path)(b"", timeout=10)
        assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED


def rest(server: ServerProcess, path: str, data: str | bytes, method: str = "POST") -> tuple[int, Any]:
    answer = requests.request(method, f"http://{server.rest}{path}", data=data, timeout=30)
    assert answer.headers["content-type"].startswith("application/json")
    return answer.status_code, answer.json()


GOOD = '{"instances": [{"x": [1.0]}]}'


@pytest.mark.parametrize(
    ("path", "data", "status"),
    [
        ("/model/nowhere:picky", GOOD, 404),
        ("/model/plain:nothing", GOOD, 404),
        ("/model/plain/version/9:picky", GOOD, 404),
        ("/model/plain", GOOD, 400),
        ("/model/:picky", GOOD, 400),
        ("/model/plain:", GOOD, 400),
        ("/model/plain/version/-1:picky", GOOD, 400),
        ("/model/plain/version/x:picky", GOOD, 400),
        ("/plain:picky", GOOD, 404),
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
        ("/model/plain:picky", '{"instances": [{"x": []}]}', 400),
        ("/model/plain:picky", '{"instances": [{"x": [1, 1.5]}]}', 400),
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
def test_rest_errors(server: ServerProcess, path: str, data: str | bytes, status: int) -> None:
    got, body = rest(server, path, data)
    assert set(body) == {"error_msg"}
    assert body["error_msg"]
    assert got == status, body


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_rest_takes_only_post(server: ServerProcess, method: str) -> None:
    status, body = rest(server, "/model/plain:picky", GOOD, method)
    assert status == 405
    assert "POST" in body["error_msg"]


def test_rest_error_of_one_instance(server: ServerProcess) -> None:
    status, body = rest(server, "/model/plain:picky", '{"instances": [{"x": [1.0]}, {"x": [-1.0]}, {"x": [2.0]}]}')
    assert status == 200
    good, bad, other = body["instances"]
    assert good == {"y": [2.0]}
    assert other == {"y": [3.0]}
    assert "Preprocess Failed" in bad["error_msg"]
