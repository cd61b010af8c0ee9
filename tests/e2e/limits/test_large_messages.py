"""Messages of hundreds of megabytes, and of more than a protocol or the memory holds."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import requests
from servoir.client import Client
from servoir.protobuf_wire import field, varint
from support.foreign_client import DTYPES, PATH, ForeignClient, open_channel
from support.processes import status_kib
from support.servers import Start

MIB = 1 << 20
GIB = 1 << 30


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


@pytest.mark.parametrize(
    "value",
    [
        np.zeros(GIB, np.float32),
        np.broadcast_to(np.float32(1), (3, GIB)),
        np.broadcast_to(np.array(1, ">f8"), (2, GIB)),
        np.zeros(512 * MIB, np.int8),
    ],
    ids=["4 GiB", "12 GiB that are one number", "16 GiB in the other byte order", "512 MiB"],
)
def test_our_client_sends_512_mib_at_most_and_copies_nothing_before(value: np.ndarray) -> None:
    answer = Client("127.0.0.1:1", "plain", "total").infer({"x": value})
    assert isinstance(answer, dict)
    found = re.fullmatch(
        r"Grpc Error, \(8, 'resource exhausted'\), Sent message larger than max \((\d+) vs\. 536870912\).*",
        answer["error"],
    )
    assert found is not None, answer
    assert value.nbytes < int(found[1]) < value.nbytes + 200


REPEAT = """
from servoir.server import register

@register.register_method([f"y{i}" for i in range(600)])
def repeat(x):
    return (x,) * 600
"""


def test_a_reply_of_more_than_4_gib_is_an_error(start: Start, tmp_path: Path, stubs: Any) -> None:
    """8 MB that are 600 outputs."""
    (tmp_path / "repeat").mkdir()
    (tmp_path / "repeat" / "servable_config.py").write_text(REPEAT)
    served = start("repeat", directory=tmp_path, options=("--max-mb", "512"))
    size = 8_000_000
    with ForeignClient(stubs, served.grpc) as client:
        with pytest.raises(grpc.RpcError) as error:
            client.call("repeat", "repeat", {"x": bytes(size)})
        assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        sizes = re.search(rf"the reply is larger than max \((\d+) vs\. {512 * MIB}\)", error.value.details())
        assert sizes is not None
        assert int(sizes[1]) > 600 * size > 4 * GIB
        assert len(client.call("repeat", "repeat", {"x": b"small"})[0]) == 600
    answer = requests.post(
        f"http://{served.rest}/model/repeat:repeat", json={"instances": [{"x": "a" * size}]}, timeout=60
    )
    assert answer.status_code == 500
    assert "4294967295" in answer.json()["error_msg"]
    assert served.running()


def test_a_result_of_4_gib_is_an_error_of_its_instance(start: Start, stubs: Any) -> None:
    """More than the server has memory for; the worker lives on."""
    served = start("plain", device_ids=0, env={"SERVOIR_ARENA_LIMIT_MB": "64"})
    workers = served.workers()
    with ForeignClient(stubs, served.grpc) as client:
        for count in (GIB, GIB + 5):
            small, large = client.call("plain", "zeros", {"count": np.int64(3)}, {"count": np.int64(count)})
            assert small["y"].tolist() == [0, 0, 0]
            assert f"no memory left for {4 * count} bytes of results" in large["error"]
    assert served.workers() == workers
