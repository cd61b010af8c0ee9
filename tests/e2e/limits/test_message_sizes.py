"""max_msg_mb_size: how large requests and answers may be, up to those that no protocol can announce."""

from __future__ import annotations

import http.client
import re
import socket
import struct
from pathlib import Path
from typing import Any

import grpc
import h2.config
import h2.connection
import h2.events
import numpy as np
import pytest
import requests
from servoir import server
from servoir.client import Client
from support.foreign_client import PATH, ForeignClient
from support.processes import free_port, wait_until
from support.servers import ServerProcess, Start, connects

MIB = 1 << 20


GIB = 1 << 30


START = {"grpc": server.start_grpc_server, "rest": server.start_restful_server}


both = pytest.mark.parametrize("kind", list(START))


@both
@pytest.mark.parametrize("value", [0, 513, -1, 1.0, "100", True, None], ids=repr)
def test_bad_max_msg_mb_size(here: Path, kind: str, value: Any) -> None:
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(RuntimeError, match=r"'max_msg_mb_size' should be an int in 1…512, but is"):
        START[kind](address, max_msg_mb_size=value)
    assert not connects(address)


class Stream:
    """One gRPC call at the level of HTTP/2: sends what it is told, reads the status and its text."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=10)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.h2.initiate_connection()
        headers = {":method": "POST", ":scheme": "http", ":path": PATH, ":authority": "test", "te": "trailers"}
        headers["content-type"] = "application/grpc"
        self.h2.send_headers(1, list(headers.items()))

    def status_of_prefix(self, size: int) -> tuple[int, str]:
        """Announces a message of this size, of which nothing comes."""
        self.h2.send_data(1, struct.pack(">BI", 0, size))
        self.socket.sendall(self.h2.data_to_send())
        try:
            while True:
                data = self.socket.recv(65536)
                assert data, "the server has closed the connection"
                for event in self.h2.receive_data(data):
                    fields = dict(getattr(event, "headers", None) or [])
                    if "grpc-status" in fields:
                        return int(fields["grpc-status"]), fields["grpc-message"]
        finally:
            self.socket.close()


@both
@pytest.mark.parametrize(
    ("given", "megabytes"), [({}, 100), ({"max_msg_mb_size": 1}, 1), ({"max_msg_mb_size": 512}, 512)]
)
def test_the_limit_is_100_mib_unless_said_otherwise(
    here: Path, kind: str, given: dict[str, int], megabytes: int
) -> None:
    address = f"127.0.0.1:{free_port()}"
    START[kind](address, **given)
    limit = megabytes * MIB
    if kind == "grpc":
        status, text = Stream(address).status_of_prefix(limit + 1)
        assert (status, f"({limit + 1} vs. {limit})" in text) == (grpc.StatusCode.RESOURCE_EXHAUSTED.value[0], True)
    else:
        status, text = rest_answer(address, {"Content-Length": str(limit + 1)})
        assert status == 413
        assert str(limit) in text
        # One of the limit is taken: the server asks for its body.
        with connection(address) as link:
            link.sendall(head({"Content-Length": str(limit), "Expect": "100-continue"}))
            assert link.recv(100).startswith(b"HTTP/1.1 100 ")


def connection(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=10)


def head(fields: dict[str, str]) -> bytes:
    lines = ["POST /model/plain:echo HTTP/1.1", "Host: test", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def rest_answer(address: str, fields: dict[str, str], body: bytes = b"") -> tuple[int, str]:
    """Status and body for a request of which no more comes."""
    with connection(address) as link:
        link.sendall(head(fields) + body)
        answer = http.client.HTTPResponse(link)
        answer.begin()
        return answer.status, answer.read().decode()


@pytest.fixture(scope="module")
def small(start_for_module: Start) -> ServerProcess:
    """Messages of 1 MiB at most."""
    return start_for_module("plain", device_ids=0, options=("--max-mb", "1"))


@pytest.mark.parametrize("size", [4 * GIB - 1, 2 * GIB, MIB + 1])
def test_grpc_messages_up_to_4_gib_are_refused_by_their_prefix(small: ServerProcess, size: int) -> None:
    """4 GiB - 1 is the most that gRPC can announce."""
    status, text = Stream(small.grpc).status_of_prefix(size)
    assert status == 8
    assert f"received message larger than max ({size} vs. {MIB})" in text


@pytest.mark.parametrize("size", [MIB + 1, 4 * GIB - 1, 4 * GIB, 4 * GIB + 1, 2**63, 2**64 - 1])
@pytest.mark.parametrize("form", ["length", "chunk"])
def test_rest_bodies_of_4_gib_and_more_are_refused_by_their_head(small: ServerProcess, size: int, form: str) -> None:
    if form == "length":
        status, text = rest_answer(small.rest, {"Content-Length": str(size)})
    else:
        status, text = rest_answer(small.rest, {"Transfer-Encoding": "chunked"}, b"%x\r\n" % size)
    assert (status, f"the limit of {MIB} bytes" in text) == (413, True), text


def test_a_length_that_is_no_number_of_bytes_is_no_request(small: ServerProcess) -> None:
    status, _ = rest_answer(small.rest, {"Content-Length": str(2**64)})
    assert status == 400


def test_grpc_requests_and_replies_over_the_limit(small: ServerProcess, stubs: Any) -> None:
    """RESOURCE_EXHAUSTED both ways, with both sizes, to any client; the connection goes on."""
    with ForeignClient(stubs, small.grpc) as client:
        big = client.request("plain", "total", [{"x": np.ones(MIB // 4, np.float32)}])
        with pytest.raises(grpc.RpcError) as error:
            client.stub.Predict(big, timeout=30)
        assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert f"received message larger than max ({big.ByteSize()} vs. {MIB})" in error.value.details()
        with pytest.raises(grpc.RpcError) as error:
            client.call("plain", "zeros", {"count": np.int64(MIB // 4)})
        assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        sizes = re.search(rf"the reply is larger than max \((\d+) vs\. {MIB}\)", error.value.details())
        assert sizes is not None
        assert MIB < int(sizes[1]) < MIB + 200
        assert client.call("plain", "zeros", {"count": np.int64(1000)})[0]["y"].shape == (1000,)

    ours = Client(small.grpc, "plain", "zeros")
    answer = ours.infer({"count": np.int64(MIB // 4)})
    assert answer["error"].startswith("Grpc Error, (8, 'resource exhausted'), the reply is larger than max")
    answer = Client(small.grpc, "plain", "total").infer({"x": np.ones(MIB // 4, np.float32)})
    assert answer["error"].startswith("Grpc Error, (8, 'resource exhausted'), received message larger than max")


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


def test_a_rest_body_over_the_limit_is_answered_and_the_connection_goes_on(small: ServerProcess) -> None:
    with requests.Session() as session:
        url = f"http://{small.rest}/model/plain:total"
        answer = session.post(url, data=b'{"instances": [{"x": "' + b"a" * MIB + b'"}]}', timeout=30)
        assert (answer.status_code, str(MIB) in answer.json()["error_msg"]) == (413, True)
        assert "close" not in answer.headers.get("connection", "").lower()
        answer = session.post(url, data='{"instances": [{"x": [1.0, 2.0]}]}', timeout=30)
        assert answer.json() == {"instances": [{"total": 3.0}]}


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
