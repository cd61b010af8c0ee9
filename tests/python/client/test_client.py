"""servoir.client.Client against a grpcio server that plays the other end."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
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
        self.deadlines: list[float | None] = []
        self.priorities: list[str | None] = []
        self.gate = threading.Event()  # clear: answers are held back
        self.gate.set()
        self.server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.max_receive_message_length", 1 << 20)])
        handler = grpc.unary_unary_rpc_method_handler(self.predict)
        service = grpc.method_handlers_generic_handler("mindspore.serving.proto.MSService", {"Predict": handler})
        self.server.add_generic_rpc_handlers((service,))
        self.server.add_insecure_port(address)
        self.server.start()

    def predict(self, request: bytes, context: Any) -> bytes:
        self.requests.append(request)
        self.deadlines.append(context.time_remaining())
        self.priorities.append(dict(context.invocation_metadata()).get("priority"))
        self.gate.wait(30)
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
    fake.gate.set()
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


def test_an_answer_that_is_held_back(server: FakeServer, address: str) -> None:
    server.reply = b"\x1a\x00"
    server.gate.clear()
    with client.Client(address, "add", "add_common") as caller:
        future = caller.infer_async({"x": 1})
        assert not future.done()
        with pytest.raises(TimeoutError, match=r"within 0\.01 seconds; the request goes on"):
            future.result(timeout=0.01)
        with pytest.raises(TimeoutError):
            future.result(0)
        server.gate.set()
        assert future.result(timeout=30) == [{}]
        assert future.done()
        assert not future.cancel()
        assert future.result() == [{}]
    assert server.deadlines[0] is None or server.deadlines[0] > 1e9  # grpcio tells a request without a limit by either


def test_a_request_that_is_cancelled(server: FakeServer, address: str) -> None:
    server.gate.clear()
    with client.Client(address, "add", "add_common") as caller:
        future = caller.infer_async({"x": 1})
        assert not future.cancelled()
        assert future.cancel()
        assert future.cancelled()
        assert future.done()
        answer = future.result()
        assert isinstance(answer, dict)
        assert answer["error"].startswith("Grpc Error, (1, 'cancelled'), ")


def test_a_request_with_a_deadline(server: FakeServer, address: str) -> None:
    server.gate.clear()
    with client.Client(address, "add", "add_common") as caller:
        answer = caller.infer({"x": 1}, timeout=0.2)
        assert isinstance(answer, dict)
        assert answer["error"].startswith("Grpc Error, (4, 'deadline exceeded'), ")
        assert caller.infer_async({"x": 1}, timeout=0.2).result() == answer
        server.gate.set()
        server.reply = b"\x1a\x00"
        assert caller.infer({"x": 1}, timeout=30) == [{}]
    assert all(seconds is not None and seconds < 40 for seconds in server.deadlines)


@pytest.mark.parametrize("timeout", [-1, "1", True, float("nan"), float("inf")])
def test_bad_timeouts(server: FakeServer, address: str, timeout: Any) -> None:
    server.reply = b"\x1a\x00"
    with client.Client(address, "add", "add_common") as caller:
        for call in (caller.infer, caller.infer_async):
            with pytest.raises(RuntimeError, match="'timeout' should be a number >= 0"):
                call({"x": 1}, timeout=timeout)
        future = caller.infer_async({"x": 1})
        with pytest.raises(RuntimeError, match="'timeout' should be a number >= 0"):
            future.result(timeout=timeout)
        assert future.result() == [{}]
    assert len(server.requests) == 1


def test_a_request_may_say_how_urgent_it_is(server: FakeServer, address: str) -> None:
    server.reply = b"\x1a\x00"
    with client.Client(address, "add", "add_common") as caller:
        for priority in (0, 7, 3):
            assert caller.infer({"x": 1}, priority=priority) == [{}]
            assert caller.infer_async({"x": 1}, priority=priority).result() == [{}]
        for wrong in (-1, 8, True, "1", 1.0):
            for call in (caller.infer, caller.infer_async):
                with pytest.raises(RuntimeError, match="'priority' should be an int in 0…7"):
                    call({"x": 1}, priority=wrong)  # type: ignore[arg-type]
    assert server.priorities == ["u=0", "u=0", "u=7", "u=7", None, None]


def test_an_answer_that_was_never_asked_for(address: str) -> None:
    """A request above the limit of the client is answered without being sent."""
    with client.Client(address, "add", "add_common") as caller:
        future = caller.infer_async({"x": np.zeros(600 << 20, np.uint8)})
    assert future.done()
    assert not future.cancel()
    answer = future.result(timeout=0)
    assert isinstance(answer, dict)
    assert answer["error"].startswith("Grpc Error, (8, 'resource exhausted'), ")


def test_an_error_of_the_request(server: FakeServer, address: str) -> None:
    server.reply = b"\x22\x0a\x08\x02\x12\x06broken"
    with client.Client(address, "add", "add_common") as caller:
        assert caller.infer({"x": 1}) == {"error": "broken"}


def test_grpc_errors_are_answers(server: FakeServer, address: str) -> None:
    server.refusal = (grpc.StatusCode.RESOURCE_EXHAUSTED, "too large")
    with client.Client(address, "add", "add_common") as caller:
        assert caller.infer({"x": 1}) == {"error": "Grpc Error, (8, 'resource exhausted'), too large"}
        assert caller.infer_async({"x": 1}).result() == caller.infer({"x": 1})


FAILED = b"\x22\x0a\x08\x02\x12\x06broken"  # an ErrorMsg with code 2
FINE = b"\x22\x02\x08\x00"


def raised(caller: client.Client) -> client.InferError:
    """What infer() raises, which is what a future's result() raises."""
    with pytest.raises(client.InferError) as later:
        caller.infer_async({"x": 1}).result(raise_errors=True)
    with pytest.raises(client.InferError) as at_once:
        caller.infer({"x": 1}, raise_errors=True)
    assert str(later.value) == str(at_once.value)
    assert at_once.value.answer == caller.infer({"x": 1}) == caller.infer({"x": 1}, raise_errors=False)
    copied = pickle.loads(pickle.dumps(at_once.value))
    assert (str(copied), copied.code, copied.answer) == (str(at_once.value), at_once.value.code, at_once.value.answer)
    return at_once.value


def test_an_error_of_the_request_is_raised(server: FakeServer, address: str) -> None:
    server.reply = FAILED
    with client.Client(address, "add", "add_common") as caller:
        error = raised(caller)
    assert isinstance(error, RuntimeError)
    assert (error.code, error.message, str(error)) == ("INVALID_ARGUMENT", "broken", "INVALID_ARGUMENT: broken")
    assert error.instances == {}
    assert error.answer == {"error": "broken"}


@pytest.mark.parametrize(
    ("number", "code"),
    [(1, "INTERNAL"), (3, "RESOURCE_EXHAUSTED"), (4, "UNAVAILABLE"), (5, "NOT_FOUND"), (77, "UNKNOWN")],
)
def test_codes_of_the_protocol(server: FakeServer, address: str, number: int, code: str) -> None:
    server.reply = b"\x22\x0a\x08" + bytes([number]) + b"\x12\x06broken"
    with client.Client(address, "add", "add_common") as caller:
        assert raised(caller).code == code


def test_errors_of_instances_are_raised_with_the_outputs_of_the_others(server: FakeServer, address: str) -> None:
    server.reply = b"\x1a\x00" * 3 + FINE + FAILED + FAILED
    with client.Client(address, "add", "add_common") as caller:
        error = raised(caller)
    assert str(error) == "2 of 3 instances failed; instance 1: INVALID_ARGUMENT: broken"
    assert (error.code, error.message) == ("INVALID_ARGUMENT", "broken")
    assert {index: (one.code, one.message) for index, one in error.instances.items()} == {
        1: ("INVALID_ARGUMENT", "broken"),
        2: ("INVALID_ARGUMENT", "broken"),
    }
    assert error.answer == [{}, {"error": "broken"}, {"error": "broken"}]


def test_grpc_errors_are_raised(server: FakeServer, address: str) -> None:
    server.refusal = (grpc.StatusCode.RESOURCE_EXHAUSTED, "too large")
    with client.Client(address, "add", "add_common") as caller:
        error = raised(caller)
        assert (error.code, error.message) == ("RESOURCE_EXHAUSTED", "too large")
        assert error.answer == {"error": "Grpc Error, (8, 'resource exhausted'), too large"}
        with pytest.raises(client.InferError, match="RESOURCE_EXHAUSTED: Sent message larger than max"):
            caller.infer({"x": np.zeros(600 << 20, np.uint8)}, raise_errors=True)


def test_success_raises_nothing(server: FakeServer, address: str) -> None:
    server.reply = b"\x1a\x00"
    with client.Client(address, "add", "add_common") as caller:
        assert caller.infer({"x": 1}, raise_errors=True) == [{}]
        assert caller.infer_async({"x": 1}).result(raise_errors=True) == [{}]
        for wrong in (None, 1, "yes"):
            with pytest.raises(RuntimeError, match="'raise_errors' should be a bool"):
                caller.infer({"x": 1}, raise_errors=wrong)  # type: ignore[call-overload]
    assert len(server.requests) == 2


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
    """150 ms at most, beyond what an empty interpreter takes; the best of five, for a busy machine."""

    def seconds(code: str) -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - start

    assert min(seconds("import servoir.client") for _ in range(5)) - min(seconds("") for _ in range(5)) < 0.15
