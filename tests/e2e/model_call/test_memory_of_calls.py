"""Model.call in a loop: what the function has dropped is free again, and what it has kept stays as it was."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from support.foreign_client import ForeignClient
from support.servers import Start

CONFIG = """
import numpy as np
from servoir.server import register

class Grow:
    inputs = [{"name": "x", "dtype": "float32", "shape": [-1, -1]}]
    outputs = [{"name": "y", "dtype": "float32", "shape": [-1, 262144]}]

    def execute(self, inputs):
        return [np.repeat(inputs[0][:, :1], 262144, axis=1) + 1]

grow = register.declare_model(backend=Grow)

def small_and_large(x, calls):
    # Each result has 1 MB, and every second input.
    for _ in range(int(calls)):
        x = grow.call(x)
        x = grow.call(x[:1])
    return x[:4]

def views(x, calls):
    # What is kept is only a part of each result.
    kept = []
    for number in range(int(calls)):
        kept.append(grow.call(np.full(2, number, np.float32))[1000:1002])
        other = grow.call(np.full(2, -1, np.float32))
    return np.concatenate(kept)

def each(instances):
    for x, calls in instances:
        yield small_and_large(x, calls)

@register.register_method(output_names=["y"])
def loop(x, calls):
    return register.add_stage(small_and_large, x, calls, outputs_count=1)

@register.register_method(output_names=["y"])
def batch(x, calls):
    return register.add_stage(each, x, calls, outputs_count=1, batch_size=8)

@register.register_method(output_names=["y"])
def keep(x, calls):
    return register.add_stage(views, x, calls, outputs_count=1)
"""


@pytest.fixture
def client(start: Start, stubs: Any, tmp_path: Any) -> Iterator[ForeignClient]:
    (tmp_path / "calls").mkdir()
    (tmp_path / "calls" / "servable_config.py").write_text(CONFIG)
    server = start("calls", directory=tmp_path, device_ids=0, env={"SERVOIR_ARENA_LIMIT_MB": "256"})
    with ForeignClient(stubs, server.grpc) as client:
        yield client


@pytest.mark.parametrize("method", ["loop", "batch"])
def test_a_loop_of_calls_takes_the_memory_of_a_few(client: ForeignClient, method: str) -> None:
    (answer,) = client.call("calls", method, {"x": np.zeros(1, np.float32), "calls": np.int64(200)})
    assert answer["y"].tolist() == [400] * 4


def test_a_part_of_a_result_that_is_kept_stays_as_it_was(client: ForeignClient) -> None:
    (answer,) = client.call("calls", "keep", {"x": np.zeros(1, np.float32), "calls": np.int64(60)})
    assert answer["y"].tolist() == [float(number + 1) for number in range(60) for _ in range(2)]
