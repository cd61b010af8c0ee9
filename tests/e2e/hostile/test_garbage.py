"""Clients that send half of something, nonsense, or far too much of it: the others are served as if nothing were."""

from __future__ import annotations

import random
import socket
import struct
import time
from typing import Any

import grpc
import hpack
import numpy as np
import pytest
import requests
from support.foreign_client import PATH, ForeignClient
from support.http2_client import PREFACE, Http2, connect, frame, read_to_end
from support.servers import ServerProcess


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
    headers = struct.pack(">I", 100)[1:] + bytes([1, 4]) + struct.pack(">I", 1)  # a HEADERS frame without its payload
    hold_open(served, served.grpc, [b"", PREFACE[:10], PREFACE, PREFACE + bytes(9), PREFACE + bytes(9) + headers] * 40)
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
            connection.sendall(
                b"POST /model/plain:chain HTTP/1.1\r\nHost: x\r\n" + b"X: " + b"y" * 1_000_000 + b"\r\n\r\n"
            )
        except OSError:
            pass
        else:
            data = read_to_end(connection)
            assert data == b"" or data.split(b" ")[1] == b"431"
    block = hpack.Encoder().encode({":method": "POST", ":path": PATH, "x": "z" * 300_000}, huffman=False)
    pieces = [block[at : at + 16384] for at in range(0, len(block), 16384)]
    data = PREFACE + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
    for number, piece in enumerate(pieces):
        kind, flags = (9 if number else 1), (4 if piece is pieces[-1] else 0)  # HEADERS, then CONTINUATION
        data += frame(kind, flags, 1, piece)
    with connect(served.grpc) as connection:
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        except OSError:  # closed already: all right
            return
        assert len(read_to_end(connection)) < 1000


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
