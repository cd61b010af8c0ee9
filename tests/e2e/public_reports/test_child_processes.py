"""Stages and models that start processes: the child's signals are its own, and the worker goes on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from servoir.client import Client
from support.processes import processes_with, wait_until
from support.servers import ServerProcess, Start, keeping_its_workers

CASES = {
    "terminated": "-15",
    "interrupted": "1",  # as by any KeyboardInterrupt
    "daemon": "-15",
    "spawned": "-15",
    "pool": "30",
    "pool of forkserver": "30",
    "executor": "30",
    "returns": "0",
    "raises": "1",
    "exits": "7",
    "exits with a text": "1",
    "program": "-15",
    "program after a hook": "-15",
    "handlers": "True",
}


@pytest.fixture(scope="module")
def server(start_for_module: Start) -> Iterator[ServerProcess]:
    server = start_for_module("children", device_ids=0)
    with keeping_its_workers(server):
        yield server
    server.stop()
    wait_until(lambda: not processes_with(server.mark), 10, "the end of all that the stages have started")


def ask(server: ServerProcess, method: str, *cases: str) -> list[str]:
    with Client(server.grpc, "children", method) as client:
        answers = client.infer([{"name": case} for case in cases], timeout=30)
    assert isinstance(answers, list), answers
    return [str(answer.get("y", answer)) for answer in answers]


@pytest.mark.parametrize("case", CASES)
def test_a_child_is_a_process_of_its_own(server: ServerProcess, case: str) -> None:
    assert ask(server, "case", case) == [CASES[case]]


@pytest.mark.parametrize("method", ["batched", "generated"])
def test_a_child_that_comes_out_of_a_batch_answers_nothing(server: ServerProcess, method: str) -> None:
    cases = ("terminated", "raises", "returns", "exits")
    assert ask(server, method, *cases) == [CASES[case] for case in cases]


def test_a_child_cannot_call_a_model(server: ServerProcess) -> None:
    (text,) = ask(server, "case", "model call")
    assert "a model can be called in the worker's own process only" in text


def test_a_model_may_start_processes_as_well(server: ServerProcess) -> None:
    with Client(server.grpc, "children", "in_a_model") as client:
        (answer,) = client.infer({"x": np.full(1, 3, np.float32)}, timeout=30)
    assert answer.get("y", answer) == 6
