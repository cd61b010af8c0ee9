"""set_max_enqueued_requests: how many requests may wait, and what is said to the next one."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from servoir import server
from servoir.client import Client
from support.foreign_client import ForeignClient, whole_error
from support.models.exact_models import expected, write
from support.processes import free_port, wait_until
from support.scripts import RunScript
from support.servers import Start


@pytest.mark.parametrize("bad", [0, -1, True, "1", None, 1.5], ids=repr)
def test_the_limit_of_requests_refuses(bad: Any) -> None:
    with pytest.raises(RuntimeError, match=r"'max_enqueued_requests'.*an int >= 1"):
        server.master.context.set_max_enqueued_requests(bad)


@pytest.mark.parametrize("value", [0, -1, 1.5, "3", None, True], ids=repr)
def test_bad_max_enqueued_requests(value: Any) -> None:
    with pytest.raises(RuntimeError, match="'max_enqueued_requests' should be an int >= 1, but is"):
        server.master.context.set_max_enqueued_requests(value)


def test_the_limit_of_requests_is_set_while_serving_and_counts_requests_not_instances(run: RunScript) -> None:
    """Over both servers; refused at once, as a whole, with the limit in the text."""
    script = run(
        """
        server.start_servables(config())
        server.start_grpc_server(GRPC)
        server.start_restful_server(REST)
        await_file("limit")
        server.master.context.set_max_enqueued_requests(1)
        say("limited")
        """,
        servables={"s": HOLDS},
    )
    script.ready()
    client = Client(script.grpc, "s", "hold")
    held = client.infer_async([{"x": 4}] * 50)
    wait_until(lambda: list(script.work.glob("held-*")), 10, "a busy worker")
    (script.work / "limit").touch()
    wait_until(lambda: "limited" in script.lines, 10, "the new limit")
    over_grpc = client.infer([{"x": 4}] * 2)
    assert isinstance(over_grpc, dict)
    assert "too many requests: 1 " in over_grpc["error"]
    assert "set_max_enqueued_requests" in over_grpc["error"]
    answer = requests.post(f"http://{script.rest}/model/s:hold", json={"instances": [{"x": 4}] * 2}, timeout=30)
    assert (answer.status_code, answer.json()) == (429, {"error_msg": over_grpc["error"]})
    (script.work / "release").touch()
    assert len(held.result()) == 50
    assert len(client.infer([{"x": 4}] * 50)) == 50


def test_max_enqueued_requests_may_be_set_at_any_time(here: Path, servables: Path, stubs: Any) -> None:
    """Requests count, not instances, and over both servers; the next one is refused at once, as a whole."""
    held = here / "held"
    held.mkdir()
    grpc_address, rest_address = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    set_limit: Callable[[int], None] = server.master.context.set_max_enqueued_requests
    server.start_servables(server.ServableStartConfig(str(servables), "plain", device_ids=0))
    server.start_grpc_server(grpc_address)
    server.start_restful_server(rest_address)
    try:
        with ForeignClient(stubs, grpc_address) as client:
            two = client.request("plain", "hold", [{"directory": str(held)}] * 2)
            small = client.request("plain", "echo", [{"a": "a", "b": "b"}])
            calls = [client.stub.Predict.future(two, timeout=30) for _ in range(2)]
            wait_until(lambda: list(held.glob("held-*")), 10, "a busy worker")
            for limit in (2, 1):
                set_limit(limit)
                text = whole_error(client.stub.Predict(small, timeout=10))
                assert f"too many requests: {limit} " in text
                assert "set_max_enqueued_requests" in text
                body = {"instances": [{"a": "a", "b": "b"}]}
                answer = requests.post(f"http://{rest_address}/model/plain:echo", json=body, timeout=10)
                assert (answer.status_code, answer.json()) == (429, {"error_msg": text})
            set_limit(3)
            assert client.stub.Predict(small, timeout=10).instances
            (held / "release").touch()
            for call in calls:
                assert len(call.result().instances) == 2
    finally:
        set_limit(10000)


def test_no_more_requests_than_allowed(start: Start, stubs: Any, tmp_path: Path) -> None:
    server = start("plain", device_ids=0, options=("--max-enqueued", "3"))
    with ForeignClient(stubs, server.grpc) as client:
        request = client.request("plain", "hold", [{"directory": str(tmp_path)}])
        calls = [client.stub.Predict.future(request, timeout=30) for _ in range(3)]
        wait_until(lambda: list(tmp_path.glob("held-*")), 10, "a busy worker")
        small = client.request("plain", "total", [{"x": np.ones(1)}])

        def refusal() -> str:
            reply = client.stub.Predict(small, timeout=10)
            return whole_error(reply) if reply.error_msg else ""

        assert "3" in refusal()
        answer = requests.post(f"http://{server.rest}/model/plain:total", json={"instances": [{"x": 1.0}]}, timeout=10)
        assert answer.status_code == 429
        (tmp_path / "release").touch()
        for call in calls:
            assert call.result().instances
        assert refusal() == ""


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


def test_model_calls_of_extra_workers_do_not_count(run: RunScript, tmp_path: Path) -> None:
    """Differs: the limit of 1 is for the request; what its functions call belongs to it."""
    write(tmp_path / "models" / "calls" / "1" / "exact.onnx", "batch")
    script = run(
        """
        server.master.context.set_max_enqueued_requests(1)
        server.start_servables(config("calls", device_ids=0, num_parallel_workers=3))
        server.start_grpc_server(GRPC)
        server.start_restful_server(REST)
        """,
        servables={"calls": CALLS},
        directory=tmp_path,
    )
    script.ready()
    answers = Client(script.grpc, "calls", "call").infer([{"x": np.ones(16, np.float32)}] * 60)
    assert isinstance(answers, list), answers
    assert {str(answer["y"].tolist()) for answer in answers} == {str(expected(np.ones(16))[0].tolist())}
    assert len({int(answer["pid"]) for answer in answers}) > 1, "an extra worker should have called the model"


CALLS = """
import os, time
from servoir.server import register

model = register.declare_model(model_file="exact.onnx", model_format="ONNX")

def call_model(x):
    time.sleep(0.01)
    y, total = model.call(x)
    return y, os.getpid()

@register.register_method(output_names=["y", "pid"])
def call(x):
    return register.add_stage(call_model, x, outputs_count=2)
"""


HOLDS = """
import os, time
from servoir.server import register

def wait_for_release(x):
    open(f"held-{os.getpid()}", "w").close()
    while not os.path.exists("release"):
        time.sleep(0.005)
    return x

@register.register_method(output_names=["y"])
def hold(x):
    return register.add_stage(wait_for_release, x, outputs_count=1)
"""
