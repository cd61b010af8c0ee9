"""servoir.client.Client against a grpcio server that plays the other end."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from servoir import client
from servoir.client import codec


class FakeServer:
    """Answers every Predict call with `reply`, or with the status `refusal`."""

    def __init__(self, address: str) -> None:
        self.requests: list[bytes] = []
        self.reply = b""
        self.refusal: tuple[grpc.StatusCode, str] | None = None
        self.server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.max_receive_message_length", 1 << 20)])
        handler = grpc.unary_unary_rpc_method_handler(self.predict)
        service = grpc.method_handlers_generic_handler("mindspore.serving.proto.MSService", {"Predict": handler})
        self.server.add_generic_rpc_handlers((service,))
        self.server.add_insecure_port(address)
        self.server.start()

    def predict(self, request: bytes, context: Any) -> bytes:
        self.requests.append(request)
        if self.refusal is not None:
            context.abort(*self.refusal)
        return self.reply


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"unix:{tmp_path}/server"


@pytest.fixture
def server(address: str) -> Iterator[FakeServer]:
    fake = FakeServer(address)
    yield fake
    fake.server.stop(None)


def test_a_request_and_its_answer(server: FakeServer, address: str) -> None:
    array = np.arange(4, dtype=np.float32)
    # An Instance has the same form in requests and replies.
    request = codec.write_request("s", "m", 0, {"y": array})
    server.reply = b"\x1a" + request[request.index(b"\x12", 7) + 1 :]
    with client.Client(address, "add", "add_common", version_number=3) as caller:
        (outputs,) = caller.infer([{"x1": array, "x2": "text"}])
    assert isinstance(outputs, dict)
    assert np.array_equal(outputs["y"], array)
    assert server.requests == [codec.write_request("add", "add_common", 3, {"x1": array, "x2": "text"})]


def test_infer_async(server: FakeServer, address: str) -> None:
    server.reply = b"\x1a\x00"
    with client.Client(address, "add", "add_common") as caller:
        futures = [caller.infer_async({"x": i}) for i in range(20)]
        assert [future.result() for future in futures] == [[{}]] * 20
    assert len(server.requests) == 20


def test_an_error_of_the_request(server: FakeServer, address: str) -> None:
    server.reply = b"\x22\x0a\x08\x02\x12\x06broken"
    with client.Client(address, "add", "add_common") as caller:
        assert caller.infer({"x": 1}) == {"error": "broken"}


def test_grpc_errors_are_answers(server: FakeServer, address: str) -> None:
    server.refusal = (grpc.StatusCode.RESOURCE_EXHAUSTED, "too large")
    with client.Client(address, "add", "add_common") as caller:
        assert caller.infer({"x": 1}) == {"error": "Grpc Error, (8, 'resource exhausted'), too large"}
        assert caller.infer_async({"x": 1}).result() == caller.infer({"x": 1})


def test_nobody_listens(tmp_path: Path) -> None:
    with client.Client(f"unix:{tmp_path}/nobody", "add", "add_common") as caller:
        answer = caller.infer({"x": 1})
    assert isinstance(answer, dict)
    assert answer["error"].startswith("Grpc Error, (14, 'unavailable'), ")


def test_nothing_is_sent_for_a_bad_value(server: FakeServer, address: str) -> None:
    with client.Client(address, "add", "add_common") as caller, pytest.raises(RuntimeError, match="'x'"):
        caller.infer({"x": [1, 2]})
    assert server.requests == []


def test_a_closed_client_connects_again(server: FakeServer, address: str) -> None:
    server.reply = b"\x1a\x00"
    caller = client.Client(address, "add", "add_common")
    assert caller.infer({}) == [{}]
    caller.close()
    assert caller.infer({}) == [{}]
    caller.close()


@pytest.mark.parametrize(
    ("change", "parameter"),
    [
        ({"address": ""}, "address"),
        ({"address": 5500}, "address"),
        ({"servable_name": ""}, "servable_name"),
        ({"servable_name": None}, "servable_name"),
        ({"method_name": ""}, "method_name"),
        ({"method_name": 1.5}, "method_name"),
        ({"version_number": -1}, "version_number"),
        ({"version_number": True}, "version_number"),
        ({"version_number": "1"}, "version_number"),
        ({"version_number": 1 << 64}, "version_number"),
        ({"ssl_config": "cert"}, "ssl_config"),
        ({"ssl_config": client.SSLConfig(certificate="c")}, "ssl_config"),
        ({"ssl_config": client.SSLConfig(private_key="k")}, "ssl_config"),
    ],
)
def test_bad_arguments(change: dict[str, Any], parameter: str) -> None:
    arguments: dict[str, Any] = {"address": "127.0.0.1:1", "servable_name": "add", "method_name": "add_common"}
    with pytest.raises(RuntimeError, match=f"'{parameter}'"):
        client.Client(**(arguments | change))


def test_attributes() -> None:
    caller = client.Client("127.0.0.1:1", "add", "add_common", 7)
    assert (caller.address, caller.servable_name, caller.method_name) == ("127.0.0.1:1", "add", "add_common")
    assert caller.version_number == 7


@pytest.mark.parametrize("parameter", ["certificate", "private_key", "custom_ca"])
@pytest.mark.parametrize("value", ["", 1, False, b"x"], ids=repr)
def test_bad_certificates(parameter: str, value: Any) -> None:
    with pytest.raises(RuntimeError, match=f"'{parameter}'"):
        client.SSLConfig(**{parameter: value})


def test_a_missing_certificate_is_a_missing_file(tmp_path: Path) -> None:
    config = client.SSLConfig(custom_ca=str(tmp_path / "missing"))
    with pytest.raises(FileNotFoundError):
        client.Client("127.0.0.1:1", "add", "add_common", ssl_config=config).infer({"x": 1})


def test_the_import_loads_neither_grpc_nor_numpy() -> None:
    code = (
        "import sys, servoir.client; heavy = {'grpc', 'numpy', 'servoir._core', 'google.protobuf'} & set(sys.modules);"
        " assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_import_is_quick() -> None:
    """The contract's 150 ms, beyond what an empty interpreter takes; the best of five, for a busy machine."""

    def seconds(code: str) -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - start

    assert min(seconds("import servoir.client") for _ in range(5)) - min(seconds("") for _ in range(5)) < 0.15
