"""servoir.client.Client against a real server; TLS is in ../tls."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from servoir import client
from servoir.client import Client
from support.arrays import same
from support.models.exact_models import expected
from support.processes import wait_until
from support.servers import ServerProcess, Start
from support.threads import in_threads


@pytest.fixture(scope="module")
def server(start_for_module: Start) -> ServerProcess:
    return start_for_module("plain", "values", "exact", device_ids=0, options=("--max-mb", "1"))


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


def test_errors_may_be_raised(server: ServerProcess) -> None:
    caller = Client(server.grpc, "plain", "picky")
    assert caller.infer({"x": np.float32(1)}, raise_errors=True)[0]["y"] == 2
    text = r"1 of 3 instances failed; instance 1: \w+: .*Preprocess Failed"
    with pytest.raises(client.InferError, match=text) as some:
        caller.infer([{"x": np.float32(x)} for x in (1, -1, 2)], raise_errors=True)
    assert list(some.value.instances) == [1]
    assert [set(outputs) for outputs in some.value.answer] == [{"y"}, {"error"}, {"y"}]
    wrongs = (("picky", 0, "INVALID_ARGUMENT"), ("none", 0, "NOT_FOUND"), ("picky", 7, "NOT_FOUND"))
    for method, version, code in wrongs:
        with pytest.raises(client.InferError) as wrong:
            Client(server.grpc, "plain", method, version).infer({"z": 1}, raise_errors=True)
        assert wrong.value.code == code
    with pytest.raises(client.InferError) as nobody:
        Client("127.0.0.1:1", "plain", "picky").infer({"x": 1}, raise_errors=True)
    assert nobody.value.code == "UNAVAILABLE"


def test_infer_waits_in_its_own_thread(server: ServerProcess) -> None:
    """A future of grpc's has a thread that wakes the one that waits, which costs more than all else in the client."""
    with Client(server.grpc, "plain", "picky") as caller:
        threads = set(threading.enumerate())
        caller.infer({"x": np.float32(1)}, timeout=60)
        assert set(threading.enumerate()) <= threads
        future = caller.infer_async({"x": np.float32(1)})
        assert set(threading.enumerate()) - threads, "the test cannot see such a thread"
        future.result()


def test_a_time_limit_is_the_servers_as_well(server: ServerProcess, tmp_path: Path) -> None:
    """While a request holds the only worker, another waits longer than its limit."""
    caller = Client(server.grpc, "plain", "hold")
    held = caller.infer_async({"directory": str(tmp_path)})
    wait_until(lambda: any(tmp_path.glob("held-*")), 60, "the worker is held")
    with pytest.raises(TimeoutError):
        held.result(timeout=0.01)
    assert not held.done()
    late = caller.infer({"directory": str(tmp_path)}, timeout=0.05)
    assert isinstance(late, dict)
    assert late["error"].startswith("Grpc Error, (4, 'deadline exceeded'), ")
    (tmp_path / "release").touch()
    assert isinstance(held.result(timeout=60), list)
    assert isinstance(caller.infer({"directory": str(tmp_path)}, timeout=60), list)


def test_a_request_is_cancelled(server: ServerProcess, tmp_path: Path) -> None:
    caller = Client(server.grpc, "plain", "hold")
    held = caller.infer_async({"directory": str(tmp_path)})
    wait_until(lambda: any(tmp_path.glob("held-*")), 60, "the worker is held")
    assert held.cancel()
    assert held.done()
    answer = held.result()
    assert isinstance(answer, dict)
    assert answer["error"].startswith("Grpc Error, (1, 'cancelled'), ")
    (tmp_path / "release").touch()
    assert isinstance(caller.infer({"directory": str(tmp_path)}, timeout=60), list)


def test_our_client_infer_async(server: ServerProcess) -> None:
    client = Client(server.grpc, "exact", "multiply")
    x = np.random.default_rng(8).integers(-9, 10, (50, 16)).astype(np.float32)
    calls = [client.infer_async({"x": row}) for row in x]
    for row, call in zip(expected(x)[0], calls, strict=True):
        assert same(call.result()[0]["y"], row)


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

    in_threads(ask, ((number,) for number in range(8)))
    assert not wrong, wrong[:3]


def test_a_server_that_has_ended_is_unavailable(start: Start) -> None:
    first = start("values", device_ids=0)
    with Client(first.grpc, "values", "untouched") as caller:
        assert caller.infer({"x": 1})[0]["y"] == 1  # type: ignore[index]
        first.stop()
        assert "(14, 'unavailable')" in caller.infer({"x": 1})["error"]  # type: ignore[call-overload]
