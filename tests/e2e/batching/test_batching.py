"""Batching: it forms batches under load, changes no answer, and never waits where nobody asked it to."""

from __future__ import annotations

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.foreign_client import ForeignClient
from support.models.exact_models import expected
from support.processes import wait_until
from support.servers import ServerProcess


@pytest.mark.parametrize("method", ["multiply", "multiply_by_four", "composite", "call_one"])
def test_answers_are_the_same_alone_and_in_any_batch(
    stubs: Any, foreign: ForeignClient, server: ServerProcess, method: str
) -> None:
    x = np.random.default_rng(1).integers(-99, 100, (240, 16)).astype(np.float32)
    alone = [foreign.reply("exact", method, [{"x": row}]).instances[0] for row in x]
    y, total = expected(x)
    for i, instance in enumerate(alone):
        assert foreign.value(instance.items["y"]).tobytes() == y[i].tobytes()
        if "total" in instance.items:
            assert foreign.value(instance.items["total"]).tobytes() == total[i].tobytes()

    clients = [ForeignClient(stubs, server.grpc) for _ in range(8)]
    for size in (1, 7):  # instances a request
        starts = range(0, len(x), size)
        futures = [
            clients[n % 8].stub.Predict.future(
                foreign.request("exact", method, [{"x": row} for row in x[at : at + size]]), timeout=30
            )
            for n, at in enumerate(starts)
        ]
        for at, future in zip(starts, futures, strict=True):
            for offset, instance in enumerate(future.result().instances):
                for name, tensor in alone[at + offset].items.items():
                    assert instance.items[name].data == tensor.data, (size, at + offset, name)
    for client in clients:
        client.channel.close()


def held(directory: Path) -> list[Path]:
    return sorted(directory.glob("held-*"))


def test_what_waits_becomes_one_batch(foreign: ForeignClient, tmp_path: Path) -> None:
    """While the worker is busy 40 requests gather; batch_size is 16."""
    request = foreign.request("plain", "hold", [{"directory": str(tmp_path)}])
    busy = foreign.stub.Predict.future(request, timeout=30)
    wait_until(lambda: held(tmp_path), 10, "a worker that runs 'hold'")
    request = foreign.request("plain", "work_batched", [{"seconds": np.float32(0)}])
    waiting = [foreign.stub.Predict.future(request, timeout=30) for _ in range(40)]
    # A last one on the same connection has been read when all before it have been: it is of a method without stages.
    foreign.call("plain", "echo", {"a": "a", "b": "b"})
    (tmp_path / "release").touch()
    assert busy.result().instances
    batches = [int(foreign.outputs(future.result(), 1)[0]["batch"]) for future in waiting]
    assert max(batches) == 16
    assert len(batches) / 16 <= sum(1 / batch for batch in batches) <= 4  # how many batches there were


def test_a_queue_delay_is_a_bound_from_the_oldest(foreign: ForeignClient) -> None:
    request = foreign.request("plain", "delayed", [{"x": np.float32(0)}])

    start = time.monotonic()
    reply = foreign.stub.Predict(request, timeout=10)
    alone = time.monotonic() - start
    assert int(foreign.outputs(reply, 1)[0]["batch"]) == 1
    assert 0.45 < alone < 0.8

    start = time.monotonic()
    first = foreign.stub.Predict.future(request, timeout=10)
    while time.monotonic() < start + 0.3:
        assert not first.done()
        time.sleep(0.005)
    second = foreign.stub.Predict.future(request, timeout=10)
    batches = [int(foreign.outputs(future.result(), 1)[0]["batch"]) for future in (first, second)]
    assert batches == [2, 2]
    assert 0.45 < time.monotonic() - start < 0.8, "the delay counts from the oldest instance"


def test_a_full_batch_waits_for_no_delay(foreign: ForeignClient) -> None:
    request = foreign.request("plain", "delayed", [{"x": np.float32(0)}] * 4)
    start = time.monotonic()
    answers = foreign.outputs(foreign.stub.Predict(request, timeout=10), 4)
    assert time.monotonic() - start < 0.4
    assert [int(answer["batch"]) for answer in answers] == [4] * 4


def test_batching_makes_a_single_request_wait_for_nothing(foreign: ForeignClient) -> None:
    """One in flight: a batch size of 64 costs nothing against one of 1. Alternated, medians; the bound is for noise."""
    on = foreign.request("plain", "batching_on", [{"x": np.zeros(16, np.float32)}])
    off = foreign.request("plain", "batching_off", [{"x": np.zeros(16, np.float32)}])
    took: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(400):
        for which, request in ((True, on), (False, off)):
            start = time.perf_counter()
            foreign.stub.Predict(request, timeout=10)
            took[which].append(time.perf_counter() - start)
    with_batching, without = (statistics.median(took[which]) for which in (True, False))
    print(f"one in flight: {with_batching * 1e6:.0f} µs with batching on, {without * 1e6:.0f} µs with it off")
    assert with_batching < 1.5 * without
    assert with_batching < 0.02


def test_requests_of_many_clients_share_batches(stubs: Any, server: ServerProcess) -> None:
    """No client sends more than one instance at a time, and yet batches form."""

    def ask(number: int) -> list[int]:
        with ForeignClient(stubs, server.grpc) as client:
            seconds = np.float32(0.01)
            return [
                int(client.call("plain", "work_batched", {"seconds": seconds})[0]["batch"])
                for _ in range(10 + number % 2)
            ]

    with ThreadPoolExecutor(16) as pool:
        batches = [batch for answers in pool.map(ask, range(16)) for batch in answers]
    assert max(batches) > 4
