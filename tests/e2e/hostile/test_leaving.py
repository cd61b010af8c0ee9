"""Clients that reset their calls, go with calls in flight, or come in great numbers."""

from __future__ import annotations

import random
import socket
import struct
import time
from pathlib import Path
from typing import Any

import grpc
import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
import numpy as np
from support.foreign_client import ForeignClient
from support.http2_client import Http2, connect
from support.processes import wait_until
from support.servers import ServerProcess
from support.threads import in_threads


def test_calls_reset_as_soon_as_made(served: ServerProcess, stubs: Any) -> None:
    """Thousands of streams opened and reset at once; the server may end the connection, nothing more."""
    with ForeignClient(stubs, served.grpc) as client:
        message = client.request("plain", "work", [{"seconds": np.float32(0)}]).SerializeToString()
    framed = struct.pack(">BI", 0, len(message)) + message
    with Http2(served.grpc) as http2:
        try:
            for number in range(3000):
                stream = http2.start_call()
                http2.h2.send_data(stream, framed, end_stream=True)
                http2.h2.reset_stream(stream)
                http2.flush()
                if number % 100 == 99:  # window updates, without which there is no sending on
                    http2.is_open()
                    http2.flush()
        except (OSError, h2.exceptions.ProtocolError):
            pass


def test_clients_that_leave_with_calls_in_flight(served: ServerProcess, stubs: Any) -> None:
    """For three seconds: 16 connections at a time with 8 calls each, closed after a part of the answers."""
    with ForeignClient(stubs, served.grpc) as client:
        message = client.request("exact", "composite", [{"x": np.ones(16, np.int32)}] * 3).SerializeToString()
        slow = client.request("plain", "work_batched", [{"seconds": np.float32(0.002)}]).SerializeToString()
    end = time.monotonic() + 3
    failures: list[BaseException] = []

    def leave_early(seed: int) -> None:
        rng = random.Random(seed)
        try:
            while time.monotonic() < end:
                with Http2(served.grpc) as http2:
                    streams = [http2.call(rng.choice((message, slow))) for _ in range(8)]
                    if rng.random() < 0.5:
                        assert http2.grpc_status(rng.choice(streams[:1])) == 0
                    if rng.random() < 0.3:  # a reset instead of a proper end
                        linger = struct.pack("ii", 1, 0)
                        http2.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        except BaseException as error:
            failures.append(error)

    in_threads(leave_early, ((seed,) for seed in range(16)))
    assert not failures, failures[:3]


def test_rest_clients_that_leave_with_calls_in_flight(served: ServerProcess) -> None:
    body = b'{"instances": [{"seconds": 0.002}]}'
    head = b"POST /model/plain:work_batched HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    for burst in range(30):
        connections = [connect(served.rest) for _ in range(16)]
        for number, connection in enumerate(connections):
            connection.sendall((head + body) * (1 + number % 3))
        for connection in connections:
            if burst % 2:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()


def test_what_is_past_its_deadline_costs_the_worker_nothing(served: ServerProcess, stubs: Any, tmp_path: Path) -> None:
    with ForeignClient(stubs, served.grpc) as client:
        held = client.stub.Predict.future(client.request("plain", "hold", [{"directory": str(tmp_path)}]), timeout=30)
        wait_until(lambda: list(tmp_path.glob("held-*")), 10, "a busy worker")
        request = client.request("plain", "work", [{"seconds": np.float32(0.05)}])
        calls = [client.stub.Predict.future(request, timeout=0.2) for _ in range(60)]
        for call in calls:
            assert call.exception().code() == grpc.StatusCode.DEADLINE_EXCEEDED
        (tmp_path / "release").touch()
        assert held.result().instances
        start = time.monotonic()
        client.call("plain", "work", {"seconds": np.float32(0)})
        assert time.monotonic() - start < 1, "60 x 0.05 s would be 3 s"


def test_many_connections(served: ServerProcess, stubs: Any) -> None:
    clients = [ForeignClient(stubs, served.grpc) for _ in range(150)]
    request = clients[0].request("plain", "chain", [{"x": np.ones(2, np.float32)}])
    for _ in range(3):
        calls = [client.stub.Predict.future(request, timeout=20) for client in clients]
        for client, call in zip(clients, calls, strict=True):
            assert client.outputs(call.result(), 1)[0]["y"].tolist() == [3, 3]
    for client in clients:
        client.channel.close()


def test_no_connection_is_left_behind(served: ServerProcess) -> None:
    """After all of the above the server has no more open descriptors than a fresh connection or two would take."""
    import os

    def descriptors() -> int:
        return len(os.listdir(f"/proc/{served.pid}/fd"))

    wait_until(lambda: descriptors() < 120, 10, f"fewer open descriptors than {descriptors()}")
