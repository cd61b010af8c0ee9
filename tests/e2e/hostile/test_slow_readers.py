"""Clients that do not read their answers, or read them slowly."""

from __future__ import annotations

import time
from typing import Any

import grpc
import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
import numpy as np
from support.foreign_client import ForeignClient, whole_error
from support.http2_client import Http2
from support.processes import shared_mib, status_kib, wait_until
from support.servers import ServerProcess, Start


def memory_of(server: ServerProcess) -> int:
    """MiB: what the server has for itself, and the arena."""
    return status_kib(server.pid, "RssAnon") // 1024 + shared_mib(server.pid)


def do_not_read(server: ServerProcess, message: bytes) -> list[Http2]:
    """40 connections that ask for 20 answers of 1 MB each and read none of them."""
    readers = [Http2(server.grpc, INITIAL_WINDOW_SIZE=0) for _ in range(40)]
    for reader in readers:
        for _ in range(20):
            reader.call(message)
    return readers


def test_readers_that_do_not_read(start: Start, stubs: Any) -> None:
    """Others notice nothing; all is given back when they go, so that memory does not grow from round to round."""
    server = start("plain", device_ids=0)
    with ForeignClient(stubs, server.grpc) as client:
        message = client.request("plain", "zeros", [{"count": np.int64(250_000)}]).SerializeToString()
        sizes = []
        for _ in range(3):
            readers = do_not_read(server, message)
            answered = time.monotonic()
            for _ in range(50):
                assert client.call("plain", "chain", {"x": np.ones(2, np.float32)}, timeout=20)
            print(f"50 calls next to 40 clients that do not read: {time.monotonic() - answered:.2f} s")
            # The same queue as theirs: when this is answered, theirs have been run.
            assert client.call("plain", "zeros", {"count": np.int64(10)}, timeout=20)
            sizes.append(memory_of(server))
            for reader in readers:
                assert reader.is_open(), "a reader that only does not read should be borne with"
                reader.socket.close()
        print(f"memory of the server at the end of each round: {sizes} MiB")
        assert max(sizes) < 1.1 * 800e6 / (1 << 20) + 50, "the answers themselves, and little more"
        wait_until(lambda: memory_of(server) < 0.3 * max(sizes), 10, "memory given back when the readers have gone")


def test_readers_that_do_not_read_against_a_full_arena(start: Start, stubs: Any) -> None:
    """800 MB of answers, an arena of 128 MB: the server pushes back, and lives."""
    server = start("plain", device_ids=0, env={"SERVOIR_ARENA_LIMIT_MB": "128"})
    with ForeignClient(stubs, server.grpc) as client:
        message = client.request("plain", "zeros", [{"count": np.int64(250_000)}]).SerializeToString()
        before = memory_of(server)
        readers = do_not_read(server, message)
        small = client.request("plain", "chain", [{"x": np.ones(2, np.float32)}])
        most, refused_otherwise = 0, 0
        for _ in range(20):
            start_time = time.monotonic()
            try:
                reply = client.stub.Predict(small, timeout=20)
                outcome = whole_error(reply) if reply.error_msg else "answered"
            except grpc.RpcError as error:
                outcome = error.details()
                refused_otherwise += error.code() != grpc.StatusCode.RESOURCE_EXHAUSTED
            most = max(most, memory_of(server))
            assert time.monotonic() - start_time < 5, outcome
        print(f"memory of the server: {most} MiB, {before} MiB before; a small call at the same time: {outcome}")
        assert most - before < 128 + 64
        assert refused_otherwise == 0, outcome
        for reader in readers:
            reader.socket.close()

        def all_is_well() -> bool:
            reply = client.stub.Predict(small, timeout=20)
            return not reply.error_msg

        wait_until(all_is_well, 5, "answers after the readers have gone")
        assert client.call("plain", "zeros", {"count": np.int64(10_000_000)})[0]["y"].size == 10_000_000
        assert server.running()


def test_a_slow_reader_gets_its_answer(served: ServerProcess, stubs: Any) -> None:
    """Eight megabytes through a window that opens in steps of a few kilobytes."""
    with ForeignClient(stubs, served.grpc) as client:
        message = client.request("plain", "zeros", [{"count": np.int64(2_000_000)}]).SerializeToString()
    with Http2(served.grpc, INITIAL_WINDOW_SIZE=5000) as http2:
        stream = http2.call(message)
        size, ended = 0, False
        while not ended:
            data = http2.socket.recv(4096)
            assert data, "the server has closed the connection"
            for event in http2.h2.receive_data(data):
                if isinstance(event, h2.events.DataReceived):
                    size += len(event.data)
                    http2.h2.acknowledge_received_data(event.flow_controlled_length, stream)
                ended = ended or isinstance(event, h2.events.StreamEnded)
            http2.flush()
        assert size > 8_000_000
