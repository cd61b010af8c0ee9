"""servoir.client.codec against the protobuf runtime and the .proto file."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from servoir import dtypes
from servoir.client import codec
from support import ROOT

DTYPES = [
    ("bool", 1),
    ("int8", 2),
    ("uint8", 3),
    ("int16", 4),
    ("uint16", 5),
    ("int32", 6),
    ("uint32", 7),
    ("int64", 8),
    ("uint64", 9),
    ("float16", 10),
    ("float32", 11),
    ("float64", 12),
]


def test_the_client_sends_the_types_that_servables_can_have() -> None:
    assert [name for name, _ in DTYPES] == list(dtypes.DTYPES)


@pytest.fixture(scope="session")
def pb(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The messages as protobuf knows them, made from the project's .proto file."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    protoc = pytest.importorskip("grpc_tools.protoc", exc_type=ImportError)
    out = tmp_path_factory.mktemp("pb")
    proto = ROOT / "python" / "servoir" / "proto" / "ms_service.proto"
    assert protoc.main(["protoc", f"-I{proto.parent}", f"--descriptor_set_out={out / 'set'}", proto.name]) == 0
    (file,) = descriptor_pb2.FileDescriptorSet.FromString((out / "set").read_bytes()).file
    pool = descriptor_pool.DescriptorPool()  # of its own: other tests have the same messages from another file
    pool.Add(file)
    names = ("PredictRequest", "PredictReply")
    found = {name: pool.FindMessageTypeByName(f"{file.package}.{name}") for name in names}
    return SimpleNamespace(**{name: message_factory.GetMessageClass(found[name]) for name in names})


def parsed(pb: Any, *args: Any) -> Any:
    request = pb.PredictRequest()
    request.ParseFromString(codec.write_request(*args))
    return request


def test_the_servable_is_named(pb: Any) -> None:
    request = parsed(pb, "añadir", "add", 0, {})
    assert (request.servable_spec.name, request.servable_spec.method_name) == ("añadir", "add")
    assert request.servable_spec.version_number == 0
    assert len(request.instances) == 1
    assert parsed(pb, "a", "b", 300, []).servable_spec.version_number == 300


@pytest.mark.parametrize(("name", "number"), DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (2, 0), (3,), (2, 3), (300, 7)])
def test_arrays(pb: Any, name: str, number: int, shape: tuple[int, ...]) -> None:
    array = np.arange(int(np.prod(shape))).reshape(shape).astype(name)
    tensor = parsed(pb, "s", "m", 1, [{"x": array}]).instances[0].items["x"]
    assert list(tensor.shape.dims) == list(shape)
    assert tensor.dtype == number
    assert tensor.data == array.tobytes()
    assert not tensor.bytes_val


def test_arrays_need_not_be_contiguous_or_little_endian(pb: Any) -> None:
    whole = np.arange(20000, dtype=np.int32).reshape(100, 200)
    for array in (whole[::2, 1::3], whole.T, whole.astype(">i4"), whole[1:3, 2:3]):
        tensor = parsed(pb, "s", "m", 1, {"x": array}).instances[0].items["x"]
        values = np.frombuffer(tensor.data, np.int32).reshape(list(tensor.shape.dims))
        assert np.array_equal(values, array)
        assert tensor.dtype == 6


@pytest.mark.parametrize(
    ("value", "dtype", "shape"),
    [
        (True, "bool", []),
        (False, "bool", []),
        (-5, "int64", []),
        (2.5, "float64", []),
        (np.float32(1.5), "float32", []),
        (np.uint8(7), "uint8", []),
    ],
)
def test_scalars(pb: Any, value: Any, dtype: str, shape: list[int]) -> None:
    tensor = parsed(pb, "s", "m", 1, {"x": value}).instances[0].items["x"]
    assert list(tensor.shape.dims) == shape
    assert tensor.dtype == dict(DTYPES)[dtype]
    assert np.frombuffer(tensor.data, dtype)[0] == value
    assert len(tensor.data) == np.dtype(dtype).itemsize


@pytest.mark.parametrize(("value", "number", "data"), [("größe", 13, "größe".encode()), (b"\0\1", 14, b"\0\1")])
def test_text_and_bytes(pb: Any, value: Any, number: int, data: bytes) -> None:
    tensor = parsed(pb, "s", "m", 1, {"x": value}).instances[0].items["x"]
    assert list(tensor.shape.dims) == [1]
    assert tensor.dtype == number
    assert list(tensor.bytes_val) == [data]
    assert not tensor.data


def test_many_instances_and_inputs(pb: Any) -> None:
    instances = [{"a": np.full(5000, i, np.float32), "b": i, "long" * 50: "x" * 300} for i in range(20)]
    request = parsed(pb, "s", "m", 1, tuple(instances))
    assert len(request.instances) == 20
    for i, instance in enumerate(request.instances):
        assert set(instance.items) == set(instances[0])
        assert np.frombuffer(instance.items["a"].data, np.float32)[4999] == i
        assert instance.items["long" * 50].bytes_val[0] == b"x" * 300


@pytest.mark.parametrize(
    "value",
    [
        [1, 2],
        None,
        np.bool_(True),
        np.array(["a"]),
        np.array([None]),
        np.array([1j]),
        (1,),
        {},
        object(),
        1 << 63,
        "\ud800",
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_be_sent_is_refused(value: Any) -> None:
    with pytest.raises(RuntimeError, match="'weight'"):
        codec.write_request("s", "m", 0, {"weight": value})


@pytest.mark.parametrize("value", [[[1, 2], [3, 4]], (1, 2)], ids=["list", "tuple"])
def test_who_sends_a_list_is_told_how_to_make_an_array_of_it(value: Any) -> None:
    with pytest.raises(RuntimeError, match=r"'weight' is of type (list|tuple); .*numpy\.asarray"):
        codec.write_request("s", "m", 0, {"weight": value})


def test_names_that_are_no_text_are_refused() -> None:
    for arguments in (("\ud800", "m", 0, {}), ("s", "\ud800", 0, {}), ("s", "m", 0, {"\ud800": 1})):
        with pytest.raises(RuntimeError, match="surrogates not allowed"):
            codec.write_request(*arguments)


@pytest.mark.parametrize("instances", [1, "abc", [1], [{"x": 1}, 2], [{1: 2}], None, np.zeros(3)], ids=repr)
def test_instances_of_a_wrong_form_are_refused(instances: Any) -> None:
    with pytest.raises(RuntimeError, match="'instances'"):
        codec.write_request("s", "m", 0, instances)


def fill(pb: Any, tensor: Any, value: Any) -> None:
    if isinstance(value, (str, bytes)):
        tensor.dtype = 13 if isinstance(value, str) else 14
        tensor.bytes_val.append(value.encode() if isinstance(value, str) else value)
        return
    tensor.dtype = dict(DTYPES)[value.dtype.name]
    tensor.shape.dims.extend(value.shape)
    tensor.data = value.tobytes()


def reply(pb: Any, instances: list[dict[str, Any]], errors: list[tuple[int, str]] = ()) -> bytes:  # type: ignore[assignment]
    message = pb.PredictReply()
    message.servable_spec.name = "s"
    for instance in instances:
        added = message.instances.add()
        for name, value in instance.items():
            fill(pb, added.items[name], value)
    for code, text in errors:
        message.error_msg.add(error_code=code, error_msg=text.encode())
    return bytes(message.SerializeToString())


@pytest.mark.parametrize(("name", "number"), DTYPES)
def test_outputs(pb: Any, name: str, number: int) -> None:
    del number
    values = {
        "scalar": np.ones((), name),
        "empty": np.ones((2, 0), name),
        "matrix": np.arange(6).reshape(2, 3).astype(name),
    }
    (outputs,) = codec.read_reply(reply(pb, [values]))
    assert isinstance(outputs, dict)
    for key, value in values.items():
        assert outputs[key].dtype == value.dtype
        assert outputs[key].shape == value.shape
        assert np.array_equal(outputs[key], value)
        assert not outputs[key].flags.writeable


def test_outputs_of_text_and_bytes(pb: Any) -> None:
    assert codec.read_reply(reply(pb, [{"a": "größe", "b": b"\xff\0"}])) == [{"a": "größe", "b": b"\xff\0"}]


def test_several_strings_are_a_list(pb: Any) -> None:
    message = pb.PredictReply()
    tensor = message.instances.add().items["x"]
    tensor.dtype = 13
    tensor.bytes_val.extend([b"a", b"b"])
    assert codec.read_reply(message.SerializeToString()) == [{"x": ["a", "b"]}]


@pytest.mark.parametrize(
    ("dims", "texts", "expected"),
    [
        ([2], [b"a", b"b"], ["a", "b"]),
        ([1], [b"a"], "a"),
        ([0], [], []),
        ([2, 2], [b"a", b"b", b"c", b"d"], [["a", "b"], ["c", "d"]]),
        ([1, 1], [b"a"], [["a"]]),
        ([2, 0], [], [[], []]),
    ],
)
def test_arrays_of_texts_are_lists(pb: Any, dims: list[int], texts: list[bytes], expected: Any) -> None:
    for dtype in (13, 14):
        message = pb.PredictReply()
        tensor = message.instances.add().items["x"]
        tensor.shape.dims.extend(dims)
        tensor.dtype = dtype
        tensor.bytes_val.extend(texts)
        (outputs,) = codec.read_reply(message.SerializeToString())
        assert isinstance(outputs, dict)
        wanted = expected if dtype == 13 else np.char.encode(np.array(expected)).tolist() if texts else expected
        assert outputs["x"] == wanted


def test_an_array_of_texts_with_too_few_of_them_cannot_be_read(pb: Any) -> None:
    message = pb.PredictReply()
    tensor = message.instances.add().items["x"]
    tensor.shape.dims.extend([2, 2])
    tensor.dtype = 13
    tensor.bytes_val.extend([b"a"])
    with pytest.raises(RuntimeError, match="cannot be read"):
        codec.read_reply(message.SerializeToString())


def test_arrays_of_bytes_and_of_stringdtype_are_sent(pb: Any) -> None:
    arrays = [(14, np.array([[b"a", b""], [b"\xff", b"dd"]]))]
    if hasattr(getattr(np, "dtypes", None), "StringDType"):  # of NumPy 2
        arrays.append((13, np.array([["a", "größe"]], np.dtypes.StringDType())))
    for number, array in arrays:
        message = parsed(pb, "s", "m", 0, [{"x": array}])
        tensor = message.instances[0].items["x"]
        assert (tensor.dtype, tuple(tensor.shape.dims), tensor.data) == (number, array.shape, b"")
        sent = [text if number == 14 else text.encode() for text in array.ravel().tolist()]
        assert list(tensor.bytes_val) == sent


def test_errors(pb: Any) -> None:
    y = np.zeros(2, np.int32)
    assert codec.read_reply(reply(pb, [], [(1, "no such servable")])) == {"error": "no such servable"}
    mixed = codec.read_reply(reply(pb, [{"y": y}, {}], [(0, ""), (2, "bad shape")]))
    assert isinstance(mixed, list)
    assert np.array_equal(mixed[0]["y"], y)
    assert mixed[1] == {"error": "bad shape"}
    assert codec.read_reply(reply(pb, [{}], [(2, "bad")])) == [{"error": "bad"}]
    assert codec.read_reply(reply(pb, [{}, {}], [])) == [{}, {}]


def test_packed_and_unpacked_dimensions_are_read() -> None:
    tensor = b"\x0a\x04\x08\x02\x08\x03" + b"\x10\x03" + b"\x1a\x06abcdef"
    entry = b"\x0a\x01y" + b"\x12" + bytes([len(tensor)]) + tensor
    instance = b"\x0a" + bytes([len(entry)]) + entry
    (outputs,) = codec.read_reply(b"\x1a" + bytes([len(instance)]) + instance)
    assert isinstance(outputs, dict)
    assert outputs["y"].shape == (2, 3)


def test_a_reply_that_is_none_is_an_error(pb: Any) -> None:
    whole = reply(pb, [{"y": np.arange(4, dtype=np.float32)}])
    codec.read_reply(whole)
    first_field = 2 + whole[1]  # where the servable's field ends, the reply is whole, with no instances
    for end in range(first_field + 1, len(whole)):
        with pytest.raises(RuntimeError, match="reply cannot be read"):
            codec.read_reply(whole[:end])
    for data in (b"\xff" * 20, b"\x1b", b"\x1a\xff\xff\xff\xff\xff\xff\xff\xff\x7f"):
        with pytest.raises(RuntimeError, match="reply cannot be read"):
            codec.read_reply(data)
    with pytest.raises(RuntimeError, match="2 instances and 3 errors"):
        codec.read_reply(reply(pb, [{}, {}], [(1, "")] * 3))


def test_a_message_has_the_limit_at_most() -> None:
    instances = [{"x": np.zeros(5000, np.float32)}, {"x": "text"}]
    size = len(codec.write_request("s", "m", 0, instances))
    assert len(codec.write_request("s", "m", 0, instances, size)) == size
    with pytest.raises(codec.TooLarge, match=rf"Sent message larger than max \({size} vs\. {size - 1}\)"):
        codec.write_request("s", "m", 0, instances, size - 1)
