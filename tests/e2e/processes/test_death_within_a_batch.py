"""A worker that dies with a batch: another runs the batch again, and finds the inputs as they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.foreign_client import ForeignClient, whole_error
from support.processes import wait_until
from support.servers import Start

# Adds 1 in place and returns the array; with the last instance the process dies, once.
ADDING = """
import os, signal
from servoir.server import register

def die_once(directory):
    try:
        os.mkdir(os.path.join(directory, "died"))
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)

def add_one(x, number, directory):
    x += 1
    if number == 7:
        die_once(directory)
    return x

def add_to_all(instances):
    for x, _, _ in instances:
        x += 1
    for _, number, directory in instances:
        if number == 7:
            die_once(directory)
    return [x for x, _, _ in instances]

@register.register_method(output_names=["y"])
def alone(x, number, directory):
    return register.add_stage(add_one, x, number, directory, outputs_count=1)

@register.register_method(output_names=["y"])
def together(x, number, directory):
    return register.add_stage(add_to_all, x, number, directory, outputs_count=1, batch_size=8)
"""


@pytest.mark.parametrize("length", [4, 5000])  # many in a page, and several pages each
@pytest.mark.parametrize("method", ["alone", "together"])
def test_the_next_worker_finds_the_inputs_as_they_were(
    start: Start, stubs: Any, tmp_path: Path, method: str, length: int
) -> None:
    (tmp_path / "adding").mkdir()
    (tmp_path / "adding" / "servable_config.py").write_text(ADDING)
    server = start("adding", directory=tmp_path, num_parallel_workers=2)
    given = [{"x": np.full(length, n, np.float32), "number": np.int64(n), "directory": str(tmp_path)} for n in range(8)]
    with ForeignClient(stubs, server.grpc) as client:
        for round_ in range(3):
            answers = client.call("adding", method, *given)
            expected = [[n + 1] * length for n in range(8)]
            assert [answer["y"].tolist() for answer in answers] == expected, round_
    assert (tmp_path / "died").exists()


ENDING = """
import os
from servoir.server import register

def end_below_zero(x):
    if x < 0:
        os._exit(3)
    return x

@register.register_method(output_names=["y"])
def look(x):
    return register.add_stage(end_below_zero, x, outputs_count=1)
"""


def test_each_new_value_that_ends_a_worker_costs_one_and_does_not_count_as_a_crash(
    start: Start, stubs: Any, tmp_path: Path
) -> None:
    """Six of them one after the other: five crashes would have the servable wait for half a minute."""
    (tmp_path / "ending").mkdir()
    (tmp_path / "ending" / "servable_config.py").write_text(ENDING)
    server = start("ending", directory=tmp_path, num_parallel_workers=2)
    with ForeignClient(stubs, server.grpc) as client:
        for value in range(-6, 0):
            error = whole_error(client.reply("ending", "look", [{"x": np.int64(value)}]))
            assert error.endswith("died while it ran this: it exited with code 3 (and nothing else)"), error
        assert client.call("ending", "look", {"x": np.int64(1)}) == [{"y": 1}]
    wait_until(lambda: sum("has crashed" in line for line in server.lines) >= 6, 10, "six crashes in the log")
    assert sum("has crashed" in line for line in server.lines) == 6
    assert not any("started again in" in line and "in 0.1 s" not in line for line in server.lines)
