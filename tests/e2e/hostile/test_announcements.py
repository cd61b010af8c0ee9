"""Numbers in messages: what is only announced must cost nobody what it would cost if it came."""

from __future__ import annotations

import base64
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import h2.config
import h2.connection
import numpy as np
import pytest
import requests
from support.foreign_client import DTYPES, PATH, ForeignClient, open_channel, whole_error
from support.servers import ServerProcess, Start

ROWS = (1 << 60) - 1
HEALTH = "/grpc.health.v1.Health/Check"


@contextmanager
def health_checked(server: ServerProcess) -> Iterator[None]:
    """Asks for the server's health all the while; each answer has to come."""
    stop = threading.Event()
    answers: list[Any] = []

    def check() -> None:
        with open_channel(server.grpc) as channel:
            call = channel.unary_unary(HEALTH)
            while not (answers and stop.wait(0.01)):
                answer = call.future(b"", timeout=20, wait_for_ready=True)
                answers.append(answer.exception() or answer.result())

    thread = threading.Thread(target=check)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert set(answers) == {b"\x08\x01"}, answers[-1]  # SERVING


def post(server: ServerProcess, method: str, body: str) -> requests.Response:
    return requests.post(f"http://{server.rest}/model/plain:{method}", data=body, timeout=30)


@pytest.mark.parametrize("shape", [[ROWS, 0], [1 << 30, 1 << 20, 0], [10_000_000, 0]])
def test_shapes_that_announce_rows_of_no_bytes(server: ServerProcess, stubs: Any, shape: list[int]) -> None:
    value = f'{{"b64": "", "type": "float32", "shape": {shape}}}'
    with health_checked(server), ForeignClient(stubs, server.grpc) as client:
        answer = post(server, "echo", f'{{"instances": [{{"a": 1, "b": {value}}}]}}')
        assert answer.status_code == 400
        assert "instance 0, input 'b'" in answer.json()["error_msg"]
        assert "at most 1048576" in answer.json()["error_msg"]
        request = client.request("plain", "echo", [{"a": np.int32(1), "b": np.int32(1)}])
        poison = client.messages.TensorShape(dims=shape)
        request.instances[0].items["b"].CopyFrom(client.messages.Tensor(shape=poison, dtype=DTYPES["float32"]))
        error = whole_error(client.stub.Predict(request, timeout=30))
        assert "instance 0, input 'b'" in error
        assert "at most 1048576" in error


def test_a_workers_output_of_very_many_rows_of_no_bytes(server: ServerProcess, stubs: Any) -> None:
    with health_checked(server), ForeignClient(stubs, server.grpc) as client:
        for count in (10**9, ROWS):
            text = base64.b64encode(struct.pack("<q", count)).decode()
            value = f'{{"b64": "{text}", "type": "int64"}}'
            answer = post(server, "empty_rows", f'{{"instances": [{{"count": {value}}}]}}')
            assert answer.status_code == 500
            assert f"output 'y': the shape [{count}, 0]" in answer.json()["error_msg"]
        # In a protobuf message it is a shape and no more.
        (answer_of_grpc,) = client.call("plain", "empty_rows", {"count": np.int64(10**9)})
        assert answer_of_grpc["y"].shape == (10**9, 0)
        answer = post(server, "empty_rows", '{"instances": [{"count": 3}]}')
        assert answer.json() == {"instances": [{"y": [[], [], []]}]}


def announce(address: str, messages: list[bytes], size: int) -> socket.socket:
    """A connection with one call for each of these beginnings of messages of this size, which never go on."""
    host, _, port = address.rpartition(":")
    connection = socket.create_connection((host, int(port)), timeout=10)
    http2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
    http2.initiate_connection()
    for message in messages:
        stream = http2.get_next_available_stream_id()
        fields = {":method": "POST", ":scheme": "http", ":path": PATH, ":authority": "test"}
        fields |= {"content-type": "application/grpc", "te": "trailers"}
        http2.send_headers(stream, list(fields.items()))
        http2.send_data(stream, struct.pack(">BI", 0, size) + message)
    connection.sendall(http2.data_to_send())
    return connection


def test_large_tensors_that_are_announced_and_do_not_come(start: Start, stubs: Any) -> None:
    """2.5 KB of heads announce 1 GB to an arena of 1 GB: who really sends something large is served."""
    server = start("plain", device_ids=0, env={"SERVOIR_ARENA_LIMIT_MB": "1024"})
    with ForeignClient(stubs, server.grpc) as client:
        whole = client.request("plain", "total", [{"x": np.ones(21_000_000, np.float32)}]).SerializeToString()
        good = client.request("plain", "total", [{"x": np.ones(20_000_000, np.float32)}])
        with announce(server.grpc, [whole[:200]] * 12, len(whole)), health_checked(server):
            for _ in range(3):
                (answer,) = client.outputs(client.stub.Predict(good, timeout=60), 1)
                assert answer["total"] == 20_000_000
            # From another connection as well.
            with announce(server.grpc, [whole[:200]] * 12, len(whole)):
                (answer,) = client.outputs(client.stub.Predict(good, timeout=60), 1)
                assert answer["total"] == 20_000_000
