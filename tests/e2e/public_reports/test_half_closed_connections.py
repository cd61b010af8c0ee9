"""A client that has said all it wants to say may end its side of the connection, and gets its answers."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import certificates
from support.foreign_client import ForeignClient
from support.http2_client import Http2, connect, read_to_end
from support.processes import wait_until
from support.rest_client import GOOD, TARGET
from support.servers import ServerProcess, Start, keeping_its_workers

PLAIN = f"POST {TARGET} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(GOOD)}\r\n\r\n{GOOD}"
CHUNKED = f"POST {TARGET} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{len(GOOD):x}\r\n{GOOD}\r\n0\r\n\r\n"
OLD = f"POST {TARGET} HTTP/1.0\r\nContent-Length: {len(GOOD)}\r\n\r\n{GOOD}"


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> certificates.Identity:
    return certificates.Authority(tmp_path_factory.mktemp("pki"), "authority").sign("server")


@pytest.fixture(scope="module")
def tls_server(start_for_module: Start, identity: certificates.Identity) -> Iterator[ServerProcess]:
    options = ("--tls", json.dumps({"certificate": identity.certificate, "private_key": identity.key}))
    with keeping_its_workers(start_for_module("plain", "values", device_ids=0, options=options)) as server:
        yield server


class TlsClient:
    """TLS on a socket whose own end and TLS's end (close_notify) are told apart."""

    def __init__(self, address: str) -> None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.socket = connect(address)
        self._from, self._to = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._from, self._to)
        while not self._done(self._tls.do_handshake):
            self._from.write(self.socket.recv(65536))

    def _done(self, step: object) -> bool:
        try:
            step()  # type: ignore[operator]
        except ssl.SSLWantReadError:
            return False
        finally:
            self.socket.sendall(self._to.read())
        return True

    def send(self, data: bytes) -> None:
        assert self._done(lambda: self._tls.write(data))

    def say_goodbye(self) -> None:
        self._done(self._tls.unwrap)

    def read_to_end(self) -> bytes:
        data = b""
        while came := self.socket.recv(65536):
            self._from.write(came)
            with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError):
                while piece := self._tls.read(65536):
                    data += piece
        return data


def held_request(directory: Path) -> str:
    body = json.dumps({"instances": [{"directory": str(directory)}]})
    return f"POST /model/plain:hold HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}"


def release(directory: Path) -> None:
    """The end of the client's side has come long before, and the answer comes after it."""
    wait_until(lambda: any(directory.glob("held-*")), 30, "the worker is held")
    (directory / "release").touch()


@pytest.mark.parametrize(
    "request_text", [PLAIN, CHUNKED, OLD, PLAIN + CHUNKED + OLD], ids=["plain", "chunked", "1.0", "all"]
)
def test_rest(server: ServerProcess, request_text: str) -> None:
    with connect(server.rest) as connection:
        connection.sendall(request_text.encode())
        connection.shutdown(socket.SHUT_WR)
        answers = read_to_end(connection)
    assert answers.count(b" 200 OK\r\n") == answers.count(b'{"instances": [{"y": 1}]}'.replace(b" ", b"")), answers
    assert answers.count(b" 200 OK\r\n") == request_text.count("POST")


def test_rest_whose_answers_come_later(server: ServerProcess, tmp_path: Path) -> None:
    with connect(server.rest) as connection:
        connection.sendall((held_request(tmp_path) + PLAIN).encode())
        connection.shutdown(socket.SHUT_WR)
        release(tmp_path)
        answers = read_to_end(connection)
    assert answers.count(b" 200 OK\r\n") == 2, answers


def test_a_request_that_is_cut_off_is_told_so(server: ServerProcess) -> None:
    with connect(server.rest) as connection:
        connection.sendall(PLAIN.encode()[:-5])
        connection.shutdown(socket.SHUT_WR)
        answer = read_to_end(connection)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n"), answer
    text = json.loads(answer.partition(b"\r\n\r\n")[2])["error_msg"]
    assert f"Content-Length is {len(GOOD)}, of which {len(GOOD) - 5} bytes came" in text


@pytest.mark.parametrize("end", ["close_notify", "close_notify and the socket's", "the socket's"])
def test_rest_with_tls(tls_server: ServerProcess, tmp_path: Path, end: str) -> None:
    client = TlsClient(tls_server.rest)
    with client.socket:
        client.send((held_request(tmp_path) + PLAIN).encode())
        if "close_notify" in end:
            client.say_goodbye()
        if "socket" in end:
            client.socket.shutdown(socket.SHUT_WR)
        release(tmp_path)
        answers = client.read_to_end()
    assert answers.count(b" 200 OK\r\n") == 2, answers


def test_grpc(server: ServerProcess, stubs: tuple[object, object], tmp_path: Path) -> None:
    """A call that the client has ended, among them one whose answer comes later, and a call that it has not."""
    with ForeignClient(stubs, server.grpc) as client:
        held = client.request("plain", "hold", [{"directory": str(tmp_path)}]).SerializeToString()
    with Http2(server.grpc) as http2:
        stream = http2.call(held)
        http2.start_call()
        http2.flush()
        http2.socket.shutdown(socket.SHUT_WR)
        http2.flush = lambda: None  # type: ignore[method-assign]
        release(tmp_path)
        assert http2.grpc_status(stream) == 0
        read_to_end(http2.socket)  # the server ends the connection as well
