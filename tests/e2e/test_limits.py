"""Limits: of messages, of requests, of memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import requests
from foreign_client import DTYPES, PATH, ForeignClient, open_channel, whole_error
from server_process import ServerProcess, status_kib, wait_until

Start = Callable[..., ServerProcess]
MIB = 1 << 20


def varint(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def field(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def big_request(servable: str, method: str, name: str, count: int) -> bytes:
    """A PredictRequest with one float32 tensor of ones, put together without protobuf's copies."""
    payload = 4 * count
    shape = field(1, field(1, varint(count)))
    head_of_data = varint(3 << 3 | 2) + varint(payload)
    tensor_head = shape + varint(2 << 3) + varint(DTYPES["float32"]) + head_of_data
    entry_head = field(1, name.encode()) + varint(2 << 3 | 2) + varint(len(tensor_head) + payload) + tensor_head
    items_head = varint(1 << 3 | 2) + varint(len(entry_head) + payload) + entry_head
    head = field(1, field(1, servable.encode()) + field(2, method.encode()))
    head += varint(2 << 3 | 2) + varint(len(items_head) + payload) + items_head
    return b"".join([head, np.ones(count, np.float32).tobytes()])


def test_a_request_of_400_mb(start: Start, stubs: Any) -> None:
    server = start("plain", device_ids=0, options=("--max-mb", "512"))
    with ForeignClient(stubs, server.grpc) as client:
        client.call("plain", "total", {"x": np.ones(10, np.float32)})
        before = status_kib(server.pid, "VmHWM") * 1024
        (worker,) = server.workers()
        worker_before = status_kib(worker, "VmHWM") * 1024
        size = 400_000_000
        call = client.channel.unary_unary(PATH, response_deserializer=client.messages.PredictReply.FromString)
        request = big_request("plain", "total", "x", size // 4)
        start_time = time.monotonic()
        (answer,) = client.outputs(call(request, timeout=60), 1)
        took = time.monotonic() - start_time
        assert answer["total"] == size // 4
        peak = status_kib(server.pid, "VmHWM") * 1024
        worker_peak = status_kib(worker, "VmHWM") * 1024
        print(
            f"400 MB request: {took:.2f} s; peak memory, the arena's pages in both:"
            f" server {peak / 1e6:.0f} MB ({before / 1e6:.0f} MB before),"
            f" worker {worker_peak / 1e6:.0f} MB ({worker_before / 1e6:.0f} MB before)"
        )
        assert peak - before < 2 * size
        assert peak - before < 1.25 * size + 64 * MIB, "the tensor should be in memory once"
        assert worker_peak - worker_before < 1.25 * size + 64 * MIB
        client.call("plain", "total", {"x": np.ones(10, np.float32)})


def test_a_too_large_request_leaves_the_other_streams_alone(start: Start, stubs: Any, tmp_path: Path) -> None:
    server = start("plain", device_ids=0, options=("--max-mb", "1"))
    with ForeignClient(stubs, server.grpc) as client:
        held = client.stub.Predict.future(
            client.request("plain", "hold", [{"directory": str(tmp_path)}]), timeout=30, wait_for_ready=True
        )
        wait_until(lambda: list(tmp_path.glob("held-*")), 10, "a busy worker")
        big = client.request("plain", "total", [{"x": np.ones(MIB // 2, np.float32)}])
        fitting = client.request("plain", "total", [{"x": np.ones(MIB // 4 - 100, np.float32)}])
        for _ in range(5):
            with pytest.raises(grpc.RpcError) as error:
                client.stub.Predict(big, timeout=10)
            assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            assert str(MIB) in error.value.details()
        assert not held.done()
        (tmp_path / "release").touch()
        assert held.result().instances
        assert client.outputs(client.stub.Predict(fitting, timeout=10), 1)[0]["total"] == MIB // 4 - 100


def test_a_too_large_answer(start: Start, stubs: Any) -> None:
    server = start("plain", device_ids=0, options=("--max-mb", "1"))
    with ForeignClient(stubs, server.grpc) as client:
        with pytest.raises(grpc.RpcError) as error:
            client.call("plain", "zeros", {"count": np.int64(MIB)})
        assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert client.call("plain", "zeros", {"count": np.int64(1000)})[0]["y"].shape == (1000,)


def test_a_too_large_rest_body(start: Start) -> None:
    server = start("plain", device_ids=0, options=("--max-mb", "1"))
    url = f"http://{server.rest}/model/plain:total"
    with requests.Session() as session:
        body = '{"instances": [{"x": [' + ",".join(["1.0"] * (MIB // 2)) + "]}]}"
        answer = session.post(url, data=body, timeout=30)
        assert answer.status_code == 413
        assert str(MIB) in answer.json()["error_msg"]
        answer = session.post(url, data='{"instances": [{"x": [1.0, 2.0]}]}', timeout=30)
        assert answer.json() == {"instances": [{"total": 3.0}]}


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


def test_large_values_there_and_back_over_many_connections(start: Start, stubs: Any) -> None:
    """16 connections with 8 MB each way: far more than sockets hold."""
    server = start("plain", device_ids=0)
    x = np.random.default_rng(4).integers(0, 255, 8_000_000, np.uint8)
    channels = [open_channel(server.grpc) for _ in range(16)]
    with ForeignClient(stubs, server.grpc) as client:
        request = client.request("plain", "echo", [{"a": x, "b": "b"}]).SerializeToString()
        calls = [channel.unary_unary(PATH).future(request, timeout=60) for channel in channels]
        for call in calls:
            (answer,) = client.outputs(client.messages.PredictReply.FromString(call.result()), 1)
            assert answer["a"].tobytes() == x.tobytes()
    for channel in channels:
        channel.close()
