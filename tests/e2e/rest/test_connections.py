"""HTTP/1.1: connections that are kept, chunked bodies, Expect, requests sent ahead, and what is no HTTP."""

from __future__ import annotations

import http.client
import json
import socket
from contextlib import closing

import pytest
from support.rest_client import GOOD, TARGET, Ask, Json, refused
from support.servers import ServerProcess

MIB = 1 << 20


def test_a_connection_is_kept(server: ServerProcess) -> None:
    with closing(http.client.HTTPConnection(server.rest, timeout=10)) as connection:
        connection.connect()
        port = connection.sock.getsockname()[1]
        for path, status in ((TARGET, 200), ("/model/values", 400), ("/", 404), (TARGET, 200)):
            connection.request("POST", path, GOOD)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == status
            assert connection.sock is not None, "the server has closed the connection"
            assert connection.sock.getsockname()[1] == port


def test_chunked_bodies(server: ServerProcess) -> None:
    with closing(http.client.HTTPConnection(server.rest, timeout=10)) as connection:
        for size in (1, 7, 100):
            pieces = [GOOD[at : at + size].encode() for at in range(0, len(GOOD), size)]
            connection.request("POST", TARGET, iter(pieces), encode_chunked=True)
            answer = connection.getresponse()
            assert (answer.status, json.loads(answer.read())) == (200, {"instances": [{"y": 1}]})


def exchange(server: ServerProcess, *pieces: bytes) -> bytes:
    """Sends the pieces, the last one as the last, and reads until the server closes."""
    host, _, port = server.rest.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        for piece in pieces:
            connection.sendall(piece)
        data = b""
        while piece := connection.recv(65536):
            data += piece
        return data


def json_of(data: bytes) -> tuple[bytes, Json]:
    """Status line and body of the one answer in the data."""
    head, _, body = data.partition(b"\r\n\r\n")
    assert b"\r\nContent-Type: application/json\r\n" in head + b"\r\n"
    assert f"\r\nContent-Length: {len(body)}\r\n".encode() in head + b"\r\n"
    return head.split(b"\r\n")[0], json.loads(body)


def test_http_1_0(server: ServerProcess) -> None:
    head = f"POST {TARGET} HTTP/1.0\r\nContent-Length: {len(GOOD)}\r\n\r\n"
    assert json_of(exchange(server, head.encode(), GOOD.encode())) == (b"HTTP/1.0 200 OK", {"instances": [{"y": 1}]})


def test_connection_close(server: ServerProcess) -> None:
    head = f"POST {TARGET} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(GOOD)}\r\n\r\n"
    data = exchange(server, head.encode(), GOOD.encode())
    assert json_of(data)[0] == b"HTTP/1.1 200 OK"
    assert b"\r\nConnection: close\r\n" in data


def test_expect_100_continue(server: ServerProcess) -> None:
    host, _, port = server.rest.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        head = f"POST {TARGET} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {len(GOOD)}\r\n"
        connection.sendall((head + "Connection: close\r\n\r\n").encode())
        interim = b"HTTP/1.1 100 Continue\r\n\r\n"
        assert connection.recv(len(interim), socket.MSG_WAITALL) == interim
        connection.sendall(GOOD.encode())
        data = b""
        while piece := connection.recv(65536):
            data += piece
    assert json_of(data) == (b"HTTP/1.1 200 OK", {"instances": [{"y": 1}]})


@pytest.mark.parametrize(("method", "status"), [("GET", b"405 Method Not Allowed"), ("POST", b"413 Content Too Large")])
def test_expect_100_continue_that_is_refused(server: ServerProcess, method: str, status: bytes) -> None:
    head = f"{method} {TARGET} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {MIB + 1}\r\n\r\n"
    line, body = json_of(exchange(server, head.encode()))
    assert line == b"HTTP/1.1 " + status
    assert set(body) == {"error_msg"}


def test_requests_sent_ahead_are_answered_in_order(server: ServerProcess) -> None:
    def request(number: int, more: str = "") -> bytes:
        body = f'{{"instances": [{{"x": {number}}}]}}'
        return f"POST {TARGET} HTTP/1.1\r\nHost: x\r\n{more}Content-Length: {len(body)}\r\n\r\n{body}".encode()

    data = exchange(server, b"".join(request(i) for i in range(20)) + request(20, "Connection: close\r\n"))
    bodies = [json.loads(part.split(b"HTTP/1.1")[0]) for part in data.split(b"\r\n\r\n")[1:]]
    assert [body["instances"][0]["y"] for body in bodies] == list(range(21))


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"POST\r\n\r\n", b"400"),
        (b"POST / HTTP/9.9\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100), b"400"),  # TLS
        (b"POST / HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n{}", b"501"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", b"501"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b", b"415"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 20_000 + b"\r\n\r\n", b"431"),
        (b"POST /" + b"y" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"431"),
    ],
    ids=lambda value: repr(value[:60]),
)
def test_what_is_no_http_gets_an_answer_in_json(server: ServerProcess, request_bytes: bytes, status: bytes) -> None:
    line, body = json_of(exchange(server, request_bytes))
    assert line.split(b" ")[1] == status
    assert set(body) == {"error_msg"}


def test_a_body_over_the_limit_names_it_and_the_connection_goes_on(server: ServerProcess, ask: Ask) -> None:
    status, text = refused(ask, TARGET, " " * (MIB + 1))
    assert status == 413
    assert f"{MIB} bytes" in text
    assert "max_msg_mb_size" in text
    assert ask(TARGET, GOOD)[0] == 200
    assert ask(TARGET, GOOD + " " * (MIB - len(GOOD)))[0] == 200, "a body of exactly the limit"
