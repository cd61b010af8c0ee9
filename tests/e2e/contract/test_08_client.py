"""Section 8 of the contract: servoir.client.Client against a real server. TLS is in test_03_tls.py."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from server_process import ServerProcess
from servoir import client
from servoir.client import Client

Start = Callable[..., ServerProcess]


@pytest.fixture(scope="module")
def server(start_for_module: Start) -> ServerProcess:
    return start_for_module("plain", "values", device_ids=0, options=("--max-mb", "1"))


def test_parameters_are_attributes() -> None:
    caller = Client("127.0.0.1:1", servable_name="add", method_name="add_common", version_number=3, ssl_config=None)
    assert caller.address == "127.0.0.1:1"
    assert (caller.servable_name, caller.method_name, caller.version_number) == ("add", "add_common", 3)
    assert Client("127.0.0.1:1", "add", "add_common").version_number == 0


@pytest.mark.parametrize(
    ("change", "right"),
    [
        ({"address": None}, "a str"),
        ({"address": ""}, "not empty"),
        ({"servable_name": 1}, "a str"),
        ({"servable_name": ""}, "not empty"),
        ({"method_name": b"m"}, "a str"),
        ({"method_name": ""}, "not empty"),
        ({"version_number": -1}, ">= 0|0…"),
        ({"version_number": 1.0}, "an int"),
        ({"version_number": False}, "an int"),
        ({"version_number": "0"}, "an int"),
        ({"ssl_config": {}}, "SSLConfig"),
        ({"ssl_config": client.SSLConfig(certificate="c.pem")}, "private_key"),
        ({"ssl_config": client.SSLConfig(private_key="k.pem")}, "certificate"),
    ],
    ids=repr,
)
def test_a_bad_parameter_is_a_runtime_error_that_names_it(change: dict[str, Any], right: str) -> None:
    (name,) = change
    arguments = {"address": "127.0.0.1:1", "servable_name": "s", "method_name": "m"} | change
    with pytest.raises(RuntimeError, match=rf"'{name}'.*({right})"):
        Client(**arguments)


def test_the_connection_is_made_later(tmp_path: Path) -> None:
    """A Client may be older than its server."""
    address = f"unix:{tmp_path}/server"
    with Client(address, "s", "m") as caller:
        late = grpc.server(ThreadPoolExecutor(1))
        handler = grpc.unary_unary_rpc_method_handler(lambda request, context: b"\x1a\x00")
        late.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("mindspore.serving.proto.MSService", {"Predict": handler}),)
        )
        late.add_insecure_port(address)
        late.start()
        assert caller.infer({"x": 1}) == [{}]
        late.stop(None)


@pytest.mark.parametrize("form", [list, tuple])
def test_a_list_or_tuple_of_dicts_gives_a_list(server: ServerProcess, form: type) -> None:
    answer = Client(server.grpc, "values", "untouched").infer(form({"x": np.int32(i)} for i in range(3)))
    assert isinstance(answer, list)
    assert [outputs["y"] for outputs in answer] == [0, 1, 2]


def test_one_dict_gives_a_list_of_one(server: ServerProcess) -> None:
    assert Client(server.grpc, "values", "untouched").infer({"x": "a"}) == [{"y": "a"}]


@pytest.mark.parametrize(
    "value",
    [np.arange(3), np.float16(1), "text", True, 5, 2.5, b"\x00\xff", np.ones((2, 2), bool), np.zeros((2, 0))],
    ids=lambda value: type(value).__name__,
)
def test_values_that_can_be_sent(server: ServerProcess, value: Any) -> None:
    (outputs,) = Client(server.grpc, "values", "untouched").infer({"x": value})
    if isinstance(value, (str, bytes)):
        assert outputs == {"y": value}
        assert type(outputs["y"]) is type(value)
    else:
        assert isinstance(outputs["y"], np.ndarray)
        assert outputs["y"].dtype == np.asarray(value).dtype
        assert np.array_equal(outputs["y"].reshape(np.shape(value)), value)


@pytest.mark.parametrize(
    "value",
    [[1, 2], None, np.bool_(True), np.array(["a"]), np.array([None]), {"b64": ""}, (1.0,), np.longdouble(1)],
    ids=lambda value: type(value).__name__,
)
def test_values_that_cannot_be_sent(value: Any) -> None:
    """Nobody listens there: it is found out before anything is sent."""
    with pytest.raises(RuntimeError, match=r"'weight'.*can(not)? be sent"):
        Client("127.0.0.1:1", "values", "untouched").infer([{"weight": 1.0}, {"weight": value}])


@pytest.mark.parametrize("instances", [None, 1, "x", [1], [{"x": 1}, None], np.zeros(2)], ids=repr)
def test_instances_that_are_no_dicts(instances: Any) -> None:
    with pytest.raises(RuntimeError, match=r"'instances'.*dict"):
        Client("127.0.0.1:1", "values", "untouched").infer(instances)


def test_results_are_read_only_and_scalars_0_dimensional_arrays(server: ServerProcess) -> None:
    (outputs,) = Client(server.grpc, "plain", "scalars").infer({"x": np.array([2.5])})
    assert {name: type(value) for name, value in outputs.items()} == {
        "int": np.ndarray,
        "float": np.ndarray,
        "bool": np.ndarray,
        "str": str,
        "bytes": bytes,
    }
    assert [outputs[name].shape for name in ("int", "float", "bool")] == [(), (), ()]
    with pytest.raises(ValueError, match="read-only"):
        outputs["float"][...] = 1
    (outputs,) = Client(server.grpc, "values", "untouched").infer({"x": np.zeros(3)})
    with pytest.raises(ValueError, match="read-only"):
        outputs["y"][0] = 1


def test_an_instance_with_an_error_is_a_dict_at_its_place(server: ServerProcess) -> None:
    answer = Client(server.grpc, "plain", "picky").infer([{"x": np.float32(x)} for x in (1, -1, 2)])
    assert isinstance(answer, list)
    assert [set(outputs) for outputs in answer] == [{"y"}, {"error"}, {"y"}]
    assert "Preprocess Failed" in answer[1]["error"]


@pytest.mark.parametrize("count", [1, 3])
def test_all_instances_alike_are_one_dict(server: ServerProcess, count: int) -> None:
    answer = Client(server.grpc, "plain", "picky").infer([{"x": np.float32(-1)}] * count)
    assert isinstance(answer, dict)
    assert "Preprocess Failed" in answer["error"]


@pytest.mark.parametrize(
    ("servable", "method", "version", "instances", "word"),
    [
        ("nowhere", "untouched", 0, {"x": 1}, "nowhere"),
        ("values", "nothing", 0, {"x": 1}, "nothing"),
        ("values", "untouched", 77, {"x": 1}, "77"),
        ("values", "untouched", 0, [{"x": 1}, {"y": 1}], "'x'"),
        ("values", "untouched", 0, [], "no instances"),
    ],
)
def test_an_error_of_the_request_is_one_dict(
    server: ServerProcess, servable: str, method: str, version: int, instances: Any, word: str
) -> None:
    answer = Client(server.grpc, servable, method, version).infer(instances)
    assert isinstance(answer, dict)
    assert set(answer) == {"error"}
    assert word in answer["error"]


@pytest.mark.parametrize("version", [0, 1])
def test_version_0_is_the_newest_that_runs(server: ServerProcess, version: int) -> None:
    assert Client(server.grpc, "values", "untouched", version).infer({"x": "a"}) == [{"y": "a"}]


def test_grpc_errors_are_dicts_with_code_and_name(server: ServerProcess) -> None:
    answer = Client(server.grpc, "values", "untouched").infer({"x": np.zeros(1 << 20, np.uint8)})
    assert isinstance(answer, dict)
    assert answer["error"].startswith("Grpc Error, (8, 'resource exhausted'), ")
    assert str(1 << 20) in answer["error"]


def test_infer_async_gives_what_infer_gives(server: ServerProcess) -> None:
    """Also for an error of gRPC, where the predecessor's result() raised."""
    caller = Client(server.grpc, "plain", "picky")
    for instances in ({"x": np.float32(1)}, [{"x": np.float32(-1)}], [{"x": np.float32(x)} for x in (1, -1)], {"z": 1}):
        assert caller.infer_async(instances).result() == caller.infer(instances)
    nobody = Client("127.0.0.1:1", "plain", "picky").infer_async({"x": 1}).result()
    assert nobody["error"].startswith("Grpc Error, (14, 'unavailable'), ")  # type: ignore[call-overload]


def test_many_calls_at_the_same_time(server: ServerProcess) -> None:
    caller = Client(server.grpc, "values", "returned_as_it_came")
    futures = [caller.infer_async({"x": np.int32(i)}) for i in range(200)]
    assert [future.result()[0]["y"] for future in futures] == list(range(200))  # type: ignore[index]


def test_a_client_of_several_threads(server: ServerProcess) -> None:
    caller = Client(server.grpc, "values", "returned_as_it_came")
    wrong: list[Any] = []

    def ask(number: int) -> None:
        for i in range(50):
            answer = caller.infer({"x": np.array([number, i])})
            if not (isinstance(answer, list) and answer[0]["y"].tolist() == [number, i]):
                wrong.append(answer)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, wrong[:3]


def test_a_server_that_has_ended_is_unavailable(start: Start) -> None:
    first = start("values", device_ids=0)
    with Client(first.grpc, "values", "untouched") as caller:
        assert caller.infer({"x": 1})[0]["y"] == 1  # type: ignore[index]
        first.stop()
        assert "(14, 'unavailable')" in caller.infer({"x": 1})["error"]  # type: ignore[call-overload]
