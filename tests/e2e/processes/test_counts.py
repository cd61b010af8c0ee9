"""How many workers there are for the keywords of a ServableStartConfig, and that each of them takes its part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.foreign_client import ForeignClient
from support.models.exact_models import expected
from support.servers import Start


@pytest.mark.parametrize(
    ("keywords", "count"),
    [
        ({"device_ids": 0}, 1),
        ({"device_ids": (0, 1)}, 2),
        ({}, 1),
        ({"num_parallel_workers": 3}, 3),
        ({"device_ids": 0, "num_parallel_workers": 3}, 3),
        ({"device_ids": (0, 1, 2), "num_parallel_workers": 2}, 3),
    ],
)
def test_all_workers_take_part_in_one_request(start: Start, stubs: Any, keywords: dict[str, Any], count: int) -> None:
    server = start("plain", **keywords)
    workers = server.workers()
    assert len(workers) == count
    with ForeignClient(stubs, server.grpc) as client:
        answers = client.call("plain", "work", *[{"seconds": np.float32(0.02)}] * 20)
        assert {int(answer["pid"]) for answer in answers} == set(workers)


@pytest.mark.parametrize("keywords", [{"device_ids": (0, 1)}, {"device_ids": 0, "num_parallel_workers": 3}, {}])
def test_models_with_several_workers(start: Start, stubs: Any, keywords: dict[str, Any]) -> None:
    """Stages of extra workers call models of others, by stages and by Model.call."""
    server = start("exact", **keywords)
    x = np.random.default_rng(2).integers(-9, 10, (60, 16)).astype(np.float32)
    y, _ = expected(x)
    with ForeignClient(stubs, server.grpc) as client:
        futures = {
            method: [client.stub.Predict.future(client.request("exact", method, [{"x": row}]), timeout=30) for row in x]
            for method in ("multiply", "multiply_by_four", "composite", "call_one")
        }
        rows = client.stub.Predict.future(client.request("exact", "call_many", [{"rows": x}] * 5), timeout=30)
        for method, calls in futures.items():
            for row, call in zip(y, calls, strict=True):
                assert client.outputs(call.result(), 1)[0]["y"].tolist() == row.tolist(), method
        for answer in client.outputs(rows.result(), 5):
            assert answer["y"].tolist() == y.tolist()


def test_the_devices_of_workers(start: Start) -> None:
    server = start("plain", device_ids=(3, 5))
    devices = {
        dict(v.split(b"=", 1) for v in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") if v)[
            b"SERVING_DEVICE_ID"
        ]
        for pid in server.workers()
    }
    assert devices == {b"3", b"5"}
    logs = {path.name for path in (server.work / "serving_logs").iterdir()}
    assert logs == {"log_plain_device3_version1.log", "log_plain_device5_version1.log"}
