"""Section 3 of the contract, addresses and message sizes: what the servers listen on, and how large messages may be."""

from __future__ import annotations

import http.client
import os
import re
import socket
import stat
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import conftest
import grpc
import h2.config
import h2.connection
import h2.events
import numpy as np
import pytest
import requests
from foreign_client import PATH, ForeignClient, whole_error
from server_process import ServerProcess, free_port, wait_until
from servoir import server
from servoir.client import Client

MIB = 1 << 20
GIB = 1 << 30
START = {"grpc": server.start_grpc_server, "rest": server.start_restful_server}
both = pytest.mark.parametrize("kind", list(START))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current directory; whatever a test has started in this process is stopped."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    server.stop()


def connects(address: str) -> bool:
    """Whether somebody listens."""
    if address.startswith("unix:"):
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(address.removeprefix("unix:")) == 0
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


# ---- addresses


@both
def test_host_and_port(here: Path, kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    address = f"127.0.0.1:{free_port()}"
    START[kind](address)
    assert connects(address)
    assert f"start success, listening on {address}" in capfd.readouterr().out
    server.stop()
    assert not connects(address)


@both
@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("", ["'address'", "a str that is not empty"]),
        (None, ["'address'", "a str", "NoneType"]),
        (5500, ["'address'", "a str", "int"]),
        (b"127.0.0.1:5500", ["'address'", "a str", "bytes"]),
        ("127.0.0.1", ["'address'", "host:port", "127.0.0.1"]),
        ("invalid address", ["'address'", "host:port", "invalid address"]),
        (":5500", ["'address'", "no host"]),
        ("host:", ["'address'", "no port"]),
        ("127.0.0.1:http", ["'address'", "not a number"]),
        ("127.0.0.1:1.5", ["'address'", "not a number"]),
        ("127.0.0.1:0", ["'address'", "1…65535"]),
        ("127.0.0.1:-1", ["'address'", "1…65535"]),
        ("127.0.0.1:65536", ["'address'", "1…65535"]),
        ("unix:", ["'address'"]),
        ("127.0.0.0.1:5000", ["cannot listen", "127.0.0.0.1"]),
        ("127.0.256.1:5000", ["cannot listen", "127.0.256.1"]),
        ("127.0.0.1:5000:5000", ["127.0.0.1:5000", "cannot be listened on"]),
    ],
)
def test_bad_addresses(here: Path, kind: str, address: Any, words: list[str]) -> None:
    with pytest.raises(RuntimeError) as error:
        START[kind](address)
    for word in words:
        assert word in str(error.value)


@both
def test_a_port_in_use(here: Path, kind: str) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(RuntimeError, match=f"'{address}'.*in use.*choose another port"):
            START[kind](address)


@pytest.mark.parametrize("first", list(START))
def test_a_port_in_use_by_the_own_other_server(here: Path, first: str) -> None:
    second = "rest" if first == "grpc" else "grpc"
    address = f"127.0.0.1:{free_port()}"
    START[first](address)
    with pytest.raises(RuntimeError, match=f"'{address}'.*in use"):
        START[second](address)
    assert not connects(address), "a start function that fails stops everything"


@pytest.mark.parametrize("form", ["absolute", "relative"])
def test_grpc_on_a_unix_socket(here: Path, form: str, capfd: pytest.CaptureFixture[str]) -> None:
    (here / "sockets").mkdir()
    path = here / "sockets" / "grpc"
    path.write_text("an existing file is replaced")
    address = f"unix:{path}" if form == "absolute" else "unix:sockets/grpc"
    server.start_grpc_server(address)
    assert stat.S_ISSOCK(path.stat().st_mode)
    assert connects(f"unix:{path}")
    assert f"start success, listening on {address}" in capfd.readouterr().out
    server.stop()
    assert not path.exists()


def test_the_directory_of_a_unix_socket_must_exist(here: Path) -> None:
    with pytest.raises(RuntimeError, match="'address': the directory 'nowhere' of 'unix:nowhere/grpc' does not exist"):
        server.start_grpc_server("unix:nowhere/grpc")


def test_a_directory_is_not_replaced(here: Path) -> None:
    (here / "grpc").mkdir()
    with pytest.raises(RuntimeError, match="cannot listen on 'unix:grpc': there is a directory of this name"):
        server.start_grpc_server("unix:grpc")


def test_rest_has_no_unix_sockets(here: Path) -> None:
    with pytest.raises(RuntimeError, match="'address': 'unix:rest': the RESTful server does not listen on unix"):
        server.start_restful_server("unix:rest")
    assert not os.path.exists("rest")


# ---- max_msg_mb_size


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
def small(start_for_module: conftest.Start) -> ServerProcess:
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


def test_a_rest_body_over_the_limit_is_answered_and_the_connection_goes_on(small: ServerProcess) -> None:
    with requests.Session() as session:
        url = f"http://{small.rest}/model/plain:total"
        answer = session.post(url, data=b'{"instances": [{"x": "' + b"a" * MIB + b'"}]}', timeout=30)
        assert (answer.status_code, str(MIB) in answer.json()["error_msg"]) == (413, True)
        assert "close" not in answer.headers.get("connection", "").lower()
        answer = session.post(url, data='{"instances": [{"x": [1.0, 2.0]}]}', timeout=30)
        assert answer.json() == {"instances": [{"total": 3.0}]}


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


def test_a_reply_of_more_than_4_gib_is_an_error(start: conftest.Start, tmp_path: Path, stubs: Any) -> None:
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


def test_a_result_of_4_gib_is_an_error_of_its_instance(start: conftest.Start, stubs: Any) -> None:
    """More than the server has memory for; the worker lives on."""
    served = start("plain", device_ids=0, env={"SERVOIR_ARENA_LIMIT_MB": "64"})
    workers = served.workers()
    with ForeignClient(stubs, served.grpc) as client:
        for count in (GIB, GIB + 5):
            small, large = client.call("plain", "zeros", {"count": np.int64(3)}, {"count": np.int64(count)})
            assert small["y"].tolist() == [0, 0, 0]
            assert f"no memory left for {4 * count} bytes of results" in large["error"]
    assert served.workers() == workers


# ---- set_max_enqueued_requests


@pytest.mark.parametrize("value", [0, -1, 1.5, "3", None, True], ids=repr)
def test_bad_max_enqueued_requests(value: Any) -> None:
    with pytest.raises(RuntimeError, match="'max_enqueued_requests' should be an int >= 1, but is"):
        server.master.context.set_max_enqueued_requests(value)


def test_max_enqueued_requests_may_be_set_at_any_time(here: Path, servables: Path, stubs: Any) -> None:
    """Requests count, not instances, and over both servers; the next one is refused at once, as a whole."""
    held = here / "held"
    held.mkdir()
    grpc_address, rest_address = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    set_limit: Callable[[int], None] = server.master.context.set_max_enqueued_requests
    server.start_servables(server.ServableStartConfig(str(servables), "plain", device_ids=0))
    server.start_grpc_server(grpc_address)
    server.start_restful_server(rest_address)
    try:
        with ForeignClient(stubs, grpc_address) as client:
            two = client.request("plain", "hold", [{"directory": str(held)}] * 2)
            small = client.request("plain", "echo", [{"a": "a", "b": "b"}])
            calls = [client.stub.Predict.future(two, timeout=30) for _ in range(2)]
            wait_until(lambda: list(held.glob("held-*")), 10, "a busy worker")
            for limit in (2, 1):
                set_limit(limit)
                text = whole_error(client.stub.Predict(small, timeout=10))
                assert f"too many requests: {limit} " in text
                assert "set_max_enqueued_requests" in text
                body = {"instances": [{"a": "a", "b": "b"}]}
                answer = requests.post(f"http://{rest_address}/model/plain:echo", json=body, timeout=10)
                assert (answer.status_code, answer.json()) == (429, {"error_msg": text})
            set_limit(3)
            assert client.stub.Predict(small, timeout=10).instances
            (held / "release").touch()
            for call in calls:
                assert len(call.result().instances) == 2
    finally:
        set_limit(10000)
