"""Functions and models that do not come to an end: only the instance that is the cause fails."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from support.foreign_client import ForeignClient, whole_error
from support.servers import Start

MODEL = """
from servoir.server import register


class Endless:
    inputs = [{"name": "x", "dtype": "float32", "shape": [-1]}]
    outputs = [{"name": "y", "dtype": "float32", "shape": [-1]}]

    def execute(self, inputs):
        (x,) = inputs
        while (x < 0).any():
            pass
        return [x + 1]


model = register.declare_model(backend=Endless, max_batch_size=8, trial=False, timeout=0.5)


def call(x):
    return model.call(x)


@register.register_method(output_names=["y"])
def staged(x):
    return register.add_stage(model, x, outputs_count=1)


@register.register_method(output_names=["y"])
def called(x):
    return register.add_stage(call, x, outputs_count=1, timeout=0.1)
"""

FUNCTIONS = """
import os
import time

from servoir.server import register


def batch(instances):
    for (x,) in instances:
        while x < 0:
            time.sleep(0.01)
        yield x + 1


def single(x):
    while x < 0:
        time.sleep(0.01)
    return x + 1


def pid_of(x):
    time.sleep(float(x))
    return os.getpid()


@register.register_method(output_names=["y"])
def batched(x):
    return register.add_stage(batch, x, outputs_count=1, batch_size=8, timeout=0.5)


@register.register_method(output_names=["y"])
def singly(x):
    return register.add_stage(single, x, outputs_count=1, timeout=0.5)


@register.register_method(output_names=["pid"])
def pid(x):
    return register.add_stage(pid_of, x, outputs_count=1, timeout=1)


@register.register_method(output_names=["pid"])
def patient(x):
    return register.add_stage(pid_of, x, outputs_count=1)
"""


def start_functions(start: Start, directory: Path, **keywords: Any) -> Any:
    (directory / "slow").mkdir()
    (directory / "slow" / "servable_config.py").write_text(FUNCTIONS)
    return start("slow", directory=directory, device_ids=0, **keywords)


@pytest.mark.parametrize(("method", "name"), [("batched", "batch"), ("singly", "single")])
def test_of_eight_instances_only_the_endless_one_fails(
    method: str, name: str, start: Start, stubs: Any, tmp_path: Path
) -> None:
    server = start_functions(start, tmp_path)
    xs = [1, 2, 3, -1, 5, 6, 7, 8]
    with ForeignClient(stubs, server.grpc) as client:
        answers = client.call("slow", method, *({"x": np.float32(x)} for x in xs), timeout=60)
        for x, answer in zip(xs, answers, strict=True):
            if x > 0:
                assert answer["y"] == x + 1
            else:
                assert f"function '{name}' of servable 'slow' took longer for 1 instance than 500 ms" in answer["error"]
        # It is known now, so the same value costs no further worker.
        client.call("slow", method, {"x": np.float32(1)})  # its successor has started
        before = server.workers()
        error = whole_error(client.reply("slow", method, [{"x": np.float32(-1)}]))
        assert "of an instance with the same values" in error
        assert server.workers() == before
    reply = requests.post(
        f"http://{server.rest}/model/slow:{method}", json={"instances": [{"x": 1.5}]}, timeout=10
    ).json()
    assert reply == {"instances": [{"y": 2.5}]}


def test_a_worker_that_was_stopped_is_replaced_and_what_it_held_is_run(
    start: Start, stubs: Any, tmp_path: Path
) -> None:
    server = start_functions(start, tmp_path)
    with ForeignClient(stubs, server.grpc) as client:
        (worker,) = client.call("slow", "pid", {"x": np.float32(0)})
        os.kill(int(worker["pid"]), signal.SIGSTOP)
        (after,) = client.call("slow", "pid", {"x": np.float32(0)}, timeout=30)
        assert after["pid"] != worker["pid"]


def test_without_a_limit_of_its_own_the_setting_holds(start: Start, stubs: Any, tmp_path: Path) -> None:
    server = start_functions(start, tmp_path, env={"SERVOIR_STAGE_TIMEOUT": "1"})
    with ForeignClient(stubs, server.grpc) as client:
        (answer,) = client.call("slow", "patient", {"x": np.float32(0.1)})
        assert "pid" in answer
        error = whole_error(client.reply("slow", "patient", [{"x": np.float32(30)}], timeout=20))
        assert "took longer for 1 instance than 1 s, its time limit" in error


@pytest.mark.parametrize("method", ["staged", "called"])
def test_of_a_model_as_well(method: str, start: Start, stubs: Any, tmp_path: Path) -> None:
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow" / "servable_config.py").write_text(MODEL)
    server = start("slow", directory=tmp_path, device_ids=0)
    with ForeignClient(stubs, server.grpc) as client:
        xs = [1, 2, -1, 4]
        answers = client.call("slow", method, *({"x": np.float32(x)} for x in xs), timeout=60)
        for x, answer in zip(xs, answers, strict=True):
            if x > 0:
                assert answer.get("y") == x + 1, answer
            else:
                assert "model 'Endless' of servable 'slow' took longer for 1 instance than 500 ms" in answer["error"]
