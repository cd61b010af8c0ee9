"""The wire of gRPC: messages, error_msg, statuses.

The messages are those of tests/support/ms_service.proto, written by hand from what the predecessor speaks; some are put
together byte by byte.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from support import ROOT
from support.foreign_client import BYTES, DTYPES, PATH, STRING, ForeignClient, whole_error
from support.servers import ServerProcess
from support.stubs import PROTO


def descriptors(proto: Path, out: Path) -> dict[str, Any]:
    """Names, numbers and types of a .proto file's messages, enums and services."""
    from google.protobuf import descriptor_pb2
    from grpc_tools import protoc

    assert protoc.main(["protoc", f"-I{proto.parent}", f"--descriptor_set_out={out}", str(proto)]) == 0
    (file,) = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file
    found: dict[str, Any] = {"package": file.package, "syntax": file.syntax}
    for message in file.message_type:
        for nested in (message, *message.nested_type):
            fields = {(f.name, f.number, f.type, f.label, f.type_name, f.HasField("oneof_index")) for f in nested.field}
            found[f"{message.name}.{nested.name}"] = fields
    for enum in file.enum_type:
        found[enum.name] = {(value.name, value.number) for value in enum.value}
    for service in file.service:
        found[service.name] = {(m.name, m.input_type, m.output_type, m.server_streaming) for m in service.method}
    return found


def test_the_projects_own_proto_file_says_the_same(tmp_path: Path) -> None:
    ours = ROOT / "python" / "servoir" / "proto" / "ms_service.proto"
    wanted = descriptors(PROTO, tmp_path / "wanted")
    got = descriptors(ours, tmp_path / "got")
    assert {name: got.get(name) for name in wanted} == wanted
    assert "MSService" in wanted


def entry(number: int, data: bytes) -> bytes:
    """A length-delimited field of less than 128 bytes."""
    assert len(data) < 128
    return bytes([number << 3 | 2, len(data)]) + data


def test_bytes_of_a_request_and_of_its_answer(server: ServerProcess, foreign: ForeignClient) -> None:
    """Put together and taken apart by hand: int16 [2, 1] and a str, there and back."""
    tensor = entry(1, entry(1, bytes([2, 1]))) + bytes([2 << 3, 4]) + entry(3, b"\x01\x00\xff\x7f")
    text = entry(1, entry(1, bytes([1]))) + bytes([2 << 3, 13]) + entry(4, "né".encode())
    instance = entry(1, entry(1, b"a") + entry(2, tensor)) + entry(1, entry(1, b"b") + entry(2, text))
    spec = entry(1, b"plain") + entry(2, b"echo") + bytes([3 << 3, 1])
    answer = foreign.channel.unary_unary(PATH)(entry(1, spec) + entry(2, instance), timeout=10)
    text_out = entry(1, b"") + bytes([2 << 3, 13]) + entry(4, "né".encode())
    outputs = entry(1, entry(1, b"a") + entry(2, tensor)) + entry(1, entry(1, b"b") + entry(2, text_out))
    assert answer == entry(1, spec) + entry(3, outputs)


def test_unknown_fields_are_skipped(foreign: ForeignClient) -> None:
    """As messages of a later version of the protocol may have them, at every level."""
    more = bytes([15 << 3, 1]) + entry(14, b"more") + bytes([13 << 3 | 5, 1, 2, 3, 4]) + bytes([12 << 3 | 1, *range(8)])
    shape = entry(1, entry(1, bytes([1])) + more)
    tensor = more + shape + bytes([2 << 3, 3]) + more + entry(3, b"\x07") + more
    item = entry(1, b"x") + more + entry(2, tensor)
    instance = more + b"\x0a" + bytes([len(item) & 127 | 128, len(item) >> 7]) + item
    spec = more + entry(1, b"values") + entry(2, b"untouched")
    request = more + entry(1, spec) + b"\x12" + bytes([len(instance) & 127 | 128, len(instance) >> 7]) + instance + more
    reply = foreign.messages.PredictReply.FromString(foreign.channel.unary_unary(PATH)(request, timeout=10))
    assert foreign.outputs(reply, 1)[0]["y"].tolist() == [7]


@pytest.mark.parametrize("dtype", sorted(DTYPES))
@pytest.mark.parametrize("shape", [(), (1,), (2, 3), (0,), (2, 0)], ids=str)
def test_numbers_are_c_order_little_endian_data_of_exact_size(
    foreign: ForeignClient, dtype: str, shape: tuple[int, ...]
) -> None:
    x = np.random.default_rng(1).integers(0, 2, shape).astype(dtype)
    reply = foreign.reply("values", "returned_as_it_came", [{"x": x}])
    tensor = reply.instances[0].items["y"]
    assert tensor.dtype == DTYPES[dtype]
    assert list(tensor.shape.dims) == list(shape)
    assert tensor.WhichOneof("tensor_data") == "data"
    assert tensor.data == x.tobytes()
    assert len(tensor.data) == int(np.prod(shape, dtype=np.int64)) * x.itemsize
    assert not tensor.bytes_val


@pytest.mark.parametrize(("number", "value"), [(STRING, "né".encode()), (BYTES, b"\xff\x00"), (STRING, b"")])
@pytest.mark.parametrize("dims", [[], [1]])
def test_str_and_bytes_are_one_bytes_val(foreign: ForeignClient, number: int, value: bytes, dims: list[int]) -> None:
    request = foreign.request("values", "untouched", [{"x": "?"}])
    tensor = request.instances[0].items["x"]
    tensor.dtype = number
    tensor.shape.dims[:] = dims
    tensor.bytes_val[:] = [value]
    reply = foreign.stub.Predict(request, timeout=10)
    (answer,) = reply.instances
    assert answer.items["y"].dtype == number
    assert list(answer.items["y"].bytes_val) == [value]
    assert list(answer.items["y"].shape.dims) == []
    assert not answer.items["y"].data


def test_scalar_results_have_no_dims(foreign: ForeignClient) -> None:
    reply = foreign.reply("plain", "scalars", [{"x": np.array([2.5])}])
    items = reply.instances[0].items
    assert {name: tensor.dtype for name, tensor in items.items()} == {
        "int": DTYPES["int64"],
        "float": DTYPES["float64"],
        "bool": DTYPES["bool"],
        "str": STRING,
        "bytes": BYTES,
    }
    assert [list(tensor.shape.dims) for tensor in items.values()] == [[]] * 5


def test_the_answer_names_servable_method_and_the_version_that_answered(foreign: ForeignClient) -> None:
    reply = foreign.reply("values", "untouched", [{"x": "a"}])
    assert (reply.servable_spec.name, reply.servable_spec.method_name) == ("values", "untouched")
    assert reply.servable_spec.version_number == 1


def changed(foreign: ForeignClient, value: Any, **changes: Any) -> Any:
    """A request with one good instance and one whose tensor is as said."""
    request = foreign.request("values", "untouched", [{"x": np.zeros(2, np.float32)}, {"x": value}])
    tensor = request.instances[1].items["x"]
    for name, change in changes.items():
        if name == "dims":
            tensor.shape.dims[:] = change
        elif name == "bytes_val":
            tensor.bytes_val[:] = change
        elif name == "shm_data":
            tensor.shm_data.memory_key = change
        else:
            setattr(tensor, name, change)
    return request


FLOATS = np.zeros(3, np.float32)


@pytest.mark.parametrize(
    ("value", "changes", "texts"),
    [
        (FLOATS, {"dims": [4]}, ["float32 [4]", "16 bytes", "12 came"]),
        (FLOATS, {"dims": []}, ["4 bytes", "12 came"]),
        (FLOATS, {"data": b""}, ["12 bytes", "0 came"]),
        (FLOATS, {"data": b"x" * 13}, ["12 bytes", "13 came"]),
        (FLOATS, {"dims": [-3]}, ["-3", "0 or more"]),
        (FLOATS, {"dims": [2**62, 2**62]}, ["more", "63 bits"]),
        (FLOATS, {"dims": [2**62, 2**62, 0], "data": b""}, ["more", "63 bits", "zeros left out"]),
        (FLOATS, {"dims": [1] * 40}, ["40 dimensions", "at most"]),
        (FLOATS, {"dtype": 0}, ["MS_UNKNOWN", "expected 1"]),
        (FLOATS, {"dtype": 15}, ["dtype is 15", "14 (MS_BYTES)"]),
        (FLOATS, {"dtype": DTYPES["float64"]}, ["float64", "24 bytes", "12 came"]),
        (FLOATS, {"bytes_val": [b"x"]}, ["values in data", "1 bytes_val came"]),
        (FLOATS, {"shm_data": "key"}, ["shm_data", "send the bytes in data"]),
        (FLOATS, {"dtype": STRING}, ["shape [3]", "12 bytes of data came"]),
        ("text", {"bytes_val": []}, ["exactly one bytes_val", "0 bytes_val"]),
        ("text", {"bytes_val": [b"a", b"b"]}, ["exactly one bytes_val", "2 bytes_val"]),
        ("text", {"data": b"x"}, ["no data", "1 bytes of data"]),
        ("text", {"dims": [2]}, ["shape [2]", "each of its 2 elements", "1 bytes_val"]),
        ("text", {"dims": [0]}, ["shape [0]", "each of its 0 elements", "1 bytes_val"]),
        ("text", {"dims": [2], "bytes_val": [b"a", b"\xff"]}, ["element 1", "UTF-8", "MS_BYTES"]),
        ("text", {"bytes_val": [b"\xff"]}, ["UTF-8", "MS_BYTES"]),
        (b"data", {"dims": [4]}, ["shape [4]", "each of its 4 elements", "1 bytes_val"]),
    ],
    ids=lambda value: repr(value) if isinstance(value, dict) else "",
)
def test_a_bad_tensor_is_an_error_of_the_request(
    foreign: ForeignClient, value: Any, changes: dict[str, Any], texts: list[str]
) -> None:
    reply = foreign.stub.Predict(changed(foreign, value, **changes), timeout=10)
    text = whole_error(reply)
    assert text.startswith("instance 1, input 'x': ")
    for part in texts:
        assert part in text
    assert reply.error_msg[0].error_code == 2


@pytest.mark.parametrize(
    ("servable", "method", "version", "instances", "code", "texts"),
    [
        ("nowhere", "untouched", 0, [{"x": "a"}], 5, ["servable 'nowhere' is not available", "'plain', 'values'"]),
        ("values", "untouched", 9, [{"x": "a"}], 5, ["version 9 is not available", "running versions: 1"]),
        ("values", "nothing", 0, [{"x": "a"}], 5, ["has no method 'nothing'", "'untouched'"]),
        ("values", "untouched", 0, [{"x": "a"}, {"y": "a"}], 2, ["instance 1 lacks input 'x'"]),
        ("values", "untouched", 0, [{"x": "a"}, {}], 2, ["instance 1 lacks input 'x'"]),
        ("values", "untouched", 0, [], 2, ["no instances", "at least one"]),
        ("", "", 0, [{"x": "a"}], 5, ["servable '' is not available"]),
    ],
)
def test_what_is_an_error_of_the_whole_request(
    foreign: ForeignClient,
    servable: str,
    method: str,
    version: int,
    instances: list[dict[str, Any]],
    code: int,
    texts: list[str],
) -> None:
    reply = foreign.stub.Predict(foreign.request(servable, method, instances, version), timeout=10)
    text = whole_error(reply)
    for part in texts:
        assert part in text
    assert reply.error_msg[0].error_code == code
    assert reply.servable_spec.name == servable
    assert reply.servable_spec.method_name == method


def test_extra_inputs_are_ignored_whatever_they_are(foreign: ForeignClient) -> None:
    request = foreign.request("values", "untouched", [{"x": "a", "more": FLOATS}])
    request.instances[0].items["more"].dtype = 0
    assert foreign.outputs(foreign.stub.Predict(request, timeout=10), 1) == [{"y": "a"}]


def test_an_input_that_no_stage_uses_is_required_and_passed_on(foreign: ForeignClient) -> None:
    assert "lacks input 'b'" in whole_error(foreign.reply("plain", "echo", [{"a": "a"}]))


def test_error_msg_is_empty_when_all_is_well(foreign: ForeignClient) -> None:
    reply = foreign.reply("plain", "picky", [{"x": np.float32(1)}, {"x": np.float32(2)}])
    assert len(reply.instances) == 2
    assert len(reply.error_msg) == 0


def test_error_msg_has_one_entry_for_each_instance_when_some_fail(foreign: ForeignClient) -> None:
    reply = foreign.reply("plain", "picky", [{"x": np.float32(x)} for x in (1, -1, 2)])
    assert [len(instance.items) for instance in reply.instances] == [1, 0, 1]
    assert [error.error_code for error in reply.error_msg] == [0, 1, 0]
    assert [error.error_msg == b"" for error in reply.error_msg] == [True, False, True]


def test_error_msg_has_one_entry_and_no_instances_when_the_request_fails(foreign: ForeignClient) -> None:
    reply = foreign.reply("plain", "picky", [{"x": np.float32(-1)}] * 3)
    assert len(reply.instances) == 0
    (error,) = reply.error_msg
    assert error.error_code == 1


def test_statuses_of_grpc_are_for_transport(foreign: ForeignClient) -> None:
    """Such as an unknown method of the service. What is wrong with a message's content is in error_msg, see above."""
    for path, message, status in (
        (PATH, b"", None),
        (PATH + "2", b"", grpc.StatusCode.UNIMPLEMENTED),
        ("/mindspore.serving.proto.MSAgent/Predict", b"", grpc.StatusCode.UNIMPLEMENTED),
    ):
        call = foreign.channel.unary_unary(path)
        if status is None:
            assert whole_error(foreign.messages.PredictReply.FromString(call(message, timeout=10)))
            continue
        with pytest.raises(grpc.RpcError) as error:
            call(message, timeout=10)
        assert error.value.code() == status
        assert PATH in error.value.details()


def test_many_instances_come_back_in_order(foreign: ForeignClient) -> None:
    answers = foreign.call("values", "returned_as_it_came", *({"x": np.int32(i)} for i in range(3000)))
    assert [int(answer["y"]) for answer in answers] == list(range(3000))


@pytest.mark.parametrize("method", ["untouched", "nowhere"])
def test_an_answer_repeats_the_id_of_its_request(foreign: ForeignClient, method: str) -> None:
    request = foreign.request("values", method, [{"x": "a"}])
    _, call = foreign.stub.Predict.with_call(request, metadata=(("x-request-id", "mine 7"),), timeout=10)
    assert dict(call.initial_metadata())["x-request-id"] == "mine 7"
    _, call = foreign.stub.Predict.with_call(request, timeout=10)
    assert "x-request-id" not in dict(call.initial_metadata())
