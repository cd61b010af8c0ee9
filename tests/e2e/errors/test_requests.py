"""Errors of a whole request, and those of all its instances that become one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import requests
from servoir.client import Client
from support.foreign_client import PATH, ForeignClient, whole_error
from support.models.exact_models import expected
from support.servers import ServerProcess
from support.threads import in_threads


def row(value: float) -> dict[str, np.ndarray]:
    return {"x": np.full(3, value, np.float32)}


def ints(*values: int) -> list[dict[str, Any]]:
    return [{"x": np.int32(value)} for value in values]


# ---- the same error in all instances


@pytest.mark.parametrize("count", [1, 2, 20])
def test_the_same_error_everywhere_is_folded(foreign: ForeignClient, server: ServerProcess, count: int) -> None:
    """Also for one instance; by gRPC, for our client and by REST."""
    instances = ints(*[-1] * count)
    text = whole_error(foreign.reply("values", "two_stages", instances))
    assert "-1 is negative" in text
    assert Client(server.grpc, "values", "two_stages").infer(instances) == {"error": text}
    url = f"http://{server.rest}/model/values:two_stages"
    answer = requests.post(url, json={"instances": [{"x": -1}] * count}, timeout=10)
    assert answer.json() == {"error_msg": text}
    assert answer.status_code == 500


def test_errors_with_different_texts_are_not_folded(foreign: ForeignClient) -> None:
    answers = foreign.call("values", "two_stages", *ints(-1, -2))
    assert ["-1 is" in answers[0]["error"], "-2 is" in answers[1]["error"]] == [True, True]


def test_an_error_beside_a_success_is_not_folded(foreign: ForeignClient) -> None:
    answers = foreign.call("values", "two_stages", *ints(-1, -1, 0))
    assert ["error" in answer for answer in answers] == [True, True, False]


def test_all_instances_alike_become_one_error(server: ServerProcess) -> None:
    client = Client(server.grpc, "plain", "picky")
    answer = client.infer([row(-2), row(-2)])
    assert isinstance(answer, dict)
    assert "Preprocess Failed" in answer["error"]
    answer = client.infer([row(-2), row(-3)])
    assert isinstance(answer, list)
    assert "-2" in answer[0]["error"]
    assert "-3" in answer[1]["error"]


# ---- requests that cannot be run


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

    in_threads(ask, ((number,) for number in range(8)))
    assert not wrong, wrong[:3]


def test_our_client_gives_grpc_errors_as_text() -> None:
    answer = Client("127.0.0.1:1", "plain", "picky").infer(row(1))
    assert answer["error"].startswith("Grpc Error, (14, 'unavailable')")


def test_unknown_grpc_method(foreign: ForeignClient) -> None:
    import grpc

    for path in (PATH + "s", "/nothing.Here/Predict"):
        with pytest.raises(grpc.RpcError) as error:
            foreign.channel.unary_unary(path)(b"", timeout=10)
        assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED
