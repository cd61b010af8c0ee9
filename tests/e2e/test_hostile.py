"""Clients that break off, send nonsense, or do not read: the server must serve the others as if nothing were."""

from __future__ import annotations

import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
import hpack
import numpy as np
import pytest
import requests
from foreign_client import PATH, ForeignClient, whole_error
from server_process import ServerProcess, shared_mib, status_kib, wait_until

Start = Callable[..., ServerProcess]
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@pytest.fixture
def served(server: ServerProcess, stubs: Any) -> Iterator[ServerProcess]:
    """The module's server; a client that behaves must be served before and after each test."""
    with ForeignClient(stubs, server.grpc) as client:

        def all_is_well() -> None:
            assert client.call("plain", "chain", {"x": np.ones(2, np.float32)})[0]["y"].tolist() == [3, 3]

        all_is_well()
        yield server
        start = time.monotonic()
        all_is_well()
        body = '{"instances": [{"x": [1.0]}]}'
        answer = requests.post(f"http://{server.rest}/model/plain:chain", data=body, timeout=10)
        assert answer.json()["instances"][0]["y"] == [3.0]
        assert time.monotonic() - start < 2


def connect(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=10)


def read_to_end(connection: socket.socket) -> bytes:
    """What the server sends until it closes; a reset is an end, too."""
    data = b""
    try:
        while piece := connection.recv(65536):
            data += piece
    except ConnectionResetError:
        pass
    return data


class Http2:
    """One HTTP/2 connection at the level of frames, for gRPC calls that are not quite right."""

    def __init__(self, address: str, **settings: int) -> None:
        self.socket = connect(address)
        config = h2.config.H2Configuration(client_side=True, header_encoding="utf-8", validate_outbound_headers=False)
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()
        if settings:
            self.h2.update_settings({getattr(h2.settings.SettingCodes, k): v for k, v in settings.items()})
        self.flush()

    def __enter__(self) -> Http2:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def flush(self) -> None:
        self.socket.sendall(self.h2.data_to_send())

    def is_open(self) -> bool:
        """Takes in what the server has sent so far; whether it has closed the connection."""
        self.socket.setblocking(False)
        try:
            while data := self.socket.recv(65536):
                self.h2.receive_data(data)
        except BlockingIOError:
            return True
        finally:
            self.socket.settimeout(10)
        return False

    def start_call(self, path: str = PATH, **headers: str) -> int:
        stream = self.h2.get_next_available_stream_id()
        fields = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "test"}
        fields |= {"content-type": "application/grpc", "te": "trailers"}
        fields |= {name.replace("_", "-"): value for name, value in headers.items()}
        self.h2.send_headers(stream, list(fields.items()))
        return stream

    def call(self, message: bytes, path: str = PATH) -> int:
        stream = self.start_call(path)
        self.h2.send_data(stream, struct.pack(">BI", 0, len(message)) + message, end_stream=True)
        self.flush()
        return stream

    def grpc_status(self, stream: int) -> int | None:
        """Reads until the stream ends; the status of its trailers, None for a reset or a closed connection."""
        status = None
        while data := self.socket.recv(65536):
            for event in self.h2.receive_data(data):
                if isinstance(event, h2.events.DataReceived):
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                if getattr(event, "stream_id", None) != stream:
                    continue
                for name, value in getattr(event, "headers", None) or []:
                    if name == "grpc-status":
                        status = int(value)
                if isinstance(event, h2.events.StreamEnded):
                    return status
                if isinstance(event, h2.events.StreamReset):
                    return None
            self.flush()
        return None


def hold_open(server: ServerProcess, address: str, beginnings: list[bytes]) -> None:
    """Connections that send these bytes and then nothing, while others are served."""
    connections = [connect(address) for _ in beginnings]
    for connection, data in zip(connections, beginnings, strict=True):
        connection.sendall(data)
    for _ in range(20):
        answer = requests.post(
            f"http://{server.rest}/model/plain:chain", data='{"instances": [{"x": [1.0]}]}', timeout=5
        )
        assert answer.status_code == 200
    for connection in connections:
        connection.close()


def test_half_open_connections(served: ServerProcess) -> None:
    frame = struct.pack(">I", 100)[1:] + bytes([1, 4]) + struct.pack(">I", 1)  # a HEADERS frame without its payload
    hold_open(served, served.grpc, [b"", PREFACE[:10], PREFACE, PREFACE + bytes(9), PREFACE + bytes(9) + frame] * 40)
    begun = b"POST /model/plain:chain HTTP/1.1\r\nHost: x\r\n"
    hold_open(served, served.rest, [b"", b"PO", begun, begun + b"Content-Length: 100\r\n\r\n{"] * 40)


@pytest.mark.parametrize("seed", range(8))
def test_garbage_instead_of_a_protocol(served: ServerProcess, seed: int) -> None:
    rng = random.Random(seed)
    for address, start in ((served.grpc, b""), (served.grpc, PREFACE), (served.grpc, PREFACE + bytes(9))):
        with connect(address) as connection:
            try:
                connection.sendall(start + rng.randbytes(100_000))
                connection.shutdown(socket.SHUT_WR)
            except OSError:  # closed already: all right
                continue
            read_to_end(connection)
    with connect(served.rest) as connection:
        try:
            connection.sendall(rng.randbytes(100_000) + b"\r\n\r\n")
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            return
        data = read_to_end(connection)
        assert data == b"" or b" 400 " in data.split(b"\r\n")[0]


def test_garbage_as_http2_frames(served: ServerProcess) -> None:
    rng = random.Random(1)
    for _ in range(200):
        with connect(served.grpc) as connection:
            payload = rng.randbytes(rng.choice((0, 1, 8, 60, 4000)))
            head = struct.pack(">I", len(payload))[1:] + bytes([rng.randrange(12), rng.randrange(256)])
            stream = struct.pack(">I", rng.choice((0, 1, 2, 3, 2**31 - 1)))
            connection.sendall(PREFACE + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]) + head + stream + payload)


def test_messages_that_are_no_protobuf(served: ServerProcess, stubs: Any) -> None:
    """Random bytes, and a good message cut off or changed anywhere."""
    rng = random.Random(2)
    with ForeignClient(stubs, served.grpc) as client:
        good = client.request("plain", "chain", [{"x": np.ones(3, np.float32)}] * 2).SerializeToString()
        broken = [good[:cut] for cut in range(len(good))]
        for _ in range(500):
            changed = bytearray(good)
            changed[rng.randrange(len(good))] = rng.randrange(256)
            broken.append(bytes(changed))
        broken += [rng.randbytes(rng.randrange(1, 300)) for _ in range(300)]
        call = client.channel.unary_unary(PATH)
        futures = [call.future(message, timeout=20) for message in broken]
        for future in futures:
            error = future.exception()
            if error is None:
                client.messages.PredictReply.FromString(future.result())
            else:
                assert isinstance(error, grpc.RpcError)
                assert error.code() in (grpc.StatusCode.INTERNAL, grpc.StatusCode.INVALID_ARGUMENT), error


def test_truncated_grpc_messages(served: ServerProcess, stubs: Any) -> None:
    with ForeignClient(stubs, served.grpc) as client:
        good = client.request("plain", "chain", [{"x": np.ones(3, np.float32)}]).SerializeToString()
    prefix = struct.pack(">BI", 0, len(good))
    with Http2(served.grpc) as http2:
        for body in (b"", prefix[:3], prefix, prefix + good[:-1], prefix + good + prefix, prefix + good + b"x"):
            stream = http2.start_call()
            http2.h2.send_data(stream, body, end_stream=True)
            http2.flush()
            assert http2.grpc_status(stream) not in (0, None), f"{len(body)} bytes"
        compressed = http2.start_call()
        http2.h2.send_data(compressed, struct.pack(">BI", 1, len(good)) + good, end_stream=True)
        http2.flush()
        assert http2.grpc_status(compressed) not in (0, None)
        assert http2.grpc_status(http2.call(good)) == 0, "the connection is still good for right calls"


def test_truncated_large_messages(served: ServerProcess, stubs: Any) -> None:
    """Far into a tensor that is streamed to its place the client ends the stream, resets it, or goes."""
    with ForeignClient(stubs, served.grpc) as client:
        good = client.request("plain", "total", [{"x": np.ones(1_000_000, np.float32)}]).SerializeToString()
    message = struct.pack(">BI", 0, len(good)) + good
    for ending in ("end", "reset", "close"):
        for cut in (10, 1000, 20_000, 60_000):
            with Http2(served.grpc) as http2:
                stream = http2.start_call()
                for at in range(0, cut, 16_000):
                    http2.h2.send_data(stream, message[at : min(at + 16_000, cut)])
                if ending == "end":
                    http2.h2.end_stream(stream)
                    http2.flush()
                    assert http2.grpc_status(stream) not in (0, None)
                elif ending == "reset":
                    http2.h2.reset_stream(stream)
                    http2.flush()
                else:
                    http2.flush()


def test_truncated_rest_bodies(served: ServerProcess) -> None:
    for body in (b"", b"{", b'{"instances": [{"x": [1.0'):
        with connect(served.rest) as connection:
            connection.sendall(b"POST /model/plain:chain HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" + body)
            connection.shutdown(socket.SHUT_WR)
            data = read_to_end(connection)
            assert data == b"" or b" 400 " in data.split(b"\r\n")[0]
    for head in (b"Content-Length: -1", b"Content-Length: 99999999999999999999", b"Transfer-Encoding: nonsense"):
        with connect(served.rest) as connection:
            connection.sendall(b"POST /model/plain:chain HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n\r\n{}")
            connection.shutdown(socket.SHUT_WR)
            data = read_to_end(connection)
            assert data == b"" or data.split(b" ")[1] in {b"400", b"501"}


def test_huge_headers(served: ServerProcess) -> None:
    with connect(served.rest) as connection:
        try:
            connection.sendall(b"POST /model/plain:chain HTTP/1.1\r\n" + b"X: " + b"y" * 1_000_000 + b"\r\n\r\n")
        except OSError:
            pass
        else:
            data = read_to_end(connection)
            assert data == b"" or data.split(b" ")[1] == b"431"
    block = hpack.Encoder().encode({":method": "POST", ":path": PATH, "x": "z" * 300_000}, huffman=False)
    frames = [block[at : at + 16384] for at in range(0, len(block), 16384)]
    data = PREFACE + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
    for number, frame in enumerate(frames):
        kind, flags = (9 if number else 1), (4 if frame is frames[-1] else 0)  # HEADERS, then CONTINUATION
        data += struct.pack(">I", len(frame))[1:] + bytes([kind, flags]) + struct.pack(">I", 1) + frame
    with connect(served.grpc) as connection:
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        except OSError:  # closed already: all right
            return
        assert len(read_to_end(connection)) < 1000


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


@pytest.mark.parametrize("where", ["headers", "trailers"])
def test_headers_that_unpack_to_gigabytes(served: ServerProcess, where: str) -> None:
    """A header of 4 KB put into the compression's table, then named a million times with a byte each."""
    encoder = hpack.Encoder()
    call = {":method": "POST", ":scheme": "http", ":path": PATH, ":authority": "t", "content-type": "application/grpc"}
    head, large = encoder.encode(call, huffman=False), encoder.encode({"x": "y" * 4000}, huffman=False)
    bomb = bytes([0x80 | 62]) * 1_000_000
    with connect(served.grpc) as connection:
        connection.sendall(PREFACE + frame(4, 0, 0))
        assert connection.recv(65536)
        connection.sendall(frame(4, 1, 0))  # its settings, with frames of 1 MiB, hold from here on
        if where == "headers":
            connection.sendall(frame(1, 5, 1, head + large + bomb))
        else:
            connection.sendall(frame(1, 4, 1, head) + frame(0, 0, 1, bytes(5)) + frame(1, 5, 1, large + bomb))
        start = time.monotonic()
        answer = requests.post(
            f"http://{served.rest}/model/plain:chain", data='{"instances": [{"x": [1.0]}]}', timeout=60
        )
        assert answer.status_code == 200
        assert time.monotonic() - start < 1, "others had to wait"
        data = b""
        while frame(3, 0, 1, struct.pack(">I", 11)) not in data:  # RST_STREAM, ENHANCE_YOUR_CALM
            piece = connection.recv(65536)
            assert piece, "the connection was closed"
            data += piece
    for refused in (20, 100):  # thousand bytes of metadata: the first is answered in words
        with grpc.insecure_channel(served.grpc) as channel, pytest.raises(grpc.RpcError) as raised:
            channel.unary_unary(PATH)(b"", metadata=[(f"x-{n}", "z" * 1000) for n in range(refused)], timeout=10)
        assert raised.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


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

    threads = [threading.Thread(target=leave_early, args=(seed,)) for seed in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
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
            print(f"50 calls beside 40 clients that do not read: {time.monotonic() - answered:.2f} s")
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
        print(f"memory of the server: {most} MiB, {before} MiB before; a small call beside: {outcome}")
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


@pytest.mark.parametrize(("method", "expected"), [("undecodable", "no file "), ("lengthy", "ValueError: long long ")])
def test_texts_of_exceptions_that_cannot_be_sent_as_they_are(
    served: ServerProcess, stubs: Any, method: str, expected: str
) -> None:
    """The name of a file that is not UTF-8, and 20 MB: the worker lives on, and its log stays small."""
    workers = served.workers()
    with ForeignClient(stubs, served.grpc) as client:
        error = whole_error(client.reply("plain", method, [{"x": np.ones(2, np.float32)}]))
    assert expected in error
    assert served.workers() == workers
    assert sum(file.stat().st_size for file in (served.work / "serving_logs").glob("*")) < 5_000_000


def test_a_function_that_closes_all_descriptors(start: Start, stubs: Any) -> None:
    """The worker can wake nobody for its results any more: it ends, and another takes its place."""
    server = start("plain", num_parallel_workers=1)
    (worker,) = server.workers()
    with ForeignClient(stubs, server.grpc) as client:
        request = client.request("plain", "close_descriptors", [{"x": np.ones(2, np.float32)}])
        client.stub.Predict(request, timeout=20)  # answered: by the result, or by an error that names the worker's end

        def all_is_well() -> bool:
            request = client.request("plain", "chain", [{"x": np.ones(2, np.float32)}])
            return not client.stub.Predict(request, timeout=20).error_msg

        wait_until(all_is_well, 20, "a new worker serves")
        assert worker not in server.workers()


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
