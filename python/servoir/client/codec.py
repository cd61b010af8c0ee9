"""The messages of the Predict call, written and read without a protobuf runtime.

    PredictRequest := servable_spec = 1 ServableSpec, instances = 2 repeated Instance
    PredictReply   := servable_spec = 1, instances = 3 repeated Instance, error_msg = 4 repeated ErrorMsg
    ServableSpec   := name = 1, method_name = 2, version_number = 3
    Instance       := items = 1 map<string, Tensor>, each entry: key = 1, value = 2
    Tensor         := shape = 1 TensorShape, dtype = 2, data = 3, bytes_val = 4 repeated
    TensorShape    := dims = 1 repeated int64
    ErrorMsg       := error_code = 1, error_msg = 2

Tensor data is copied once on the way out and not at all on the way in: result arrays are read-only views of the reply.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np

_STRING = 13
_BYTES = 14
_DTYPE_NUMBERS = {
    np.dtype(name): number
    for number, name in (
        (1, "bool"),
        (2, "int8"),
        (3, "uint8"),
        (4, "int16"),
        (5, "uint16"),
        (6, "int32"),
        (7, "uint32"),
        (8, "int64"),
        (9, "uint64"),
        (10, "float16"),
        (11, "float32"),
        (12, "float64"),
    )
}
_DTYPES = {number: dtype for dtype, number in _DTYPE_NUMBERS.items()}
_SMALL = 4096  # up to this size a copy costs less than keeping the array as a part of its own

# Parts of a message, joined in one go at the end; arrays are not copied before it is known that the message is sent.
Part: TypeAlias = bytes | np.ndarray[Any, Any]


class TooLarge(Exception):
    """The message has more bytes than may be sent."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"Sent message larger than max ({size} vs. {limit}): send less in one request")


def _varint(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(number: int, data: bytes) -> bytes:
    """A length-delimited field with a number below 16."""
    return bytes((number << 3 | 2,)) + _varint(len(data)) + data


def _utf8(what: str, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise RuntimeError(f"{what} is a str that is no text and cannot be sent: {error}") from None


def _shape(dims: tuple[int, ...]) -> bytes:
    """The field of a TensorShape in a Tensor; nothing for a scalar, which is an empty shape."""
    if not dims:
        return b"\x0a\x00"
    return _field(1, _field(1, b"".join([_varint(dim) for dim in dims])))


def _array_parts(name: str, array: np.ndarray[Any, Any]) -> tuple[list[Part], int]:
    """Parts of a Tensor message, and how many bytes they are."""
    number = _DTYPE_NUMBERS.get(array.dtype)
    if number is None:
        little = array.dtype.newbyteorder("<")
        if little not in _DTYPE_NUMBERS:
            raise RuntimeError(
                f"Input '{name}': arrays of dtype {array.dtype} cannot be sent; bool, integers of 8 to 64 bits and"
                f" floats of 16 to 64 bits can"
            )
        number = _DTYPE_NUMBERS[little]
    head = _shape(array.shape) + bytes((0x10, number))
    size = array.nbytes
    head += b"\x1a" + _varint(size)
    if size <= _SMALL:
        data = head + _packed(array).tobytes()
        return [data], len(data)
    return [head, array], len(head) + size


def _packed(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Its values in C order, little endian."""
    return np.asarray(array, array.dtype.newbyteorder("<"), order="C")


def _tensor_parts(name: str, value: object) -> tuple[list[Part], int]:
    if isinstance(value, np.ndarray):
        return _array_parts(name, value)
    if isinstance(value, np.number):
        return _array_parts(name, np.asarray(value))
    if isinstance(value, bool):
        data = b"\x0a\x03\x0a\x01\x01\x10\x01\x1a\x01" + (b"\x01" if value else b"\x00")
    elif isinstance(value, int):
        if not -(1 << 63) <= value < 1 << 63:
            raise RuntimeError(f"Input '{name}': {value} does not fit in int64")
        data = b"\x0a\x03\x0a\x01\x01\x10\x08\x1a\x08" + struct.pack("<q", value)
    elif isinstance(value, float):
        data = b"\x0a\x03\x0a\x01\x01\x10\x0c\x1a\x08" + struct.pack("<d", value)
    elif isinstance(value, str):
        data = b"\x0a\x03\x0a\x01\x01\x10\x0d" + _field(4, _utf8(f"Input '{name}'", value))
    elif isinstance(value, bytes):
        data = b"\x0a\x03\x0a\x01\x01\x10\x0e" + _field(4, value)
    else:
        hint = "; numpy.asarray makes an array of it" if isinstance(value, (list, tuple)) else ""
        raise RuntimeError(
            f"Input '{name}' is of type {type(value).__name__}; ndarray, np.number, str, bool, int, float and bytes can"
            f" be sent{hint}"
        )
    return [data], len(data)


def _instance_parts(instance: object, index: int) -> tuple[list[Part], int]:
    """Parts of an Instance message, and how many bytes they are."""
    if not isinstance(instance, Mapping):
        raise RuntimeError(
            f"Parameter 'instances': instance {index} should be a dict of inputs, but is of type"
            f" {type(instance).__name__}"
        )
    parts: list[Part] = []
    total = 0
    for name, value in instance.items():
        if not isinstance(name, str):
            raise RuntimeError(
                f"Parameter 'instances': names of inputs should be str, but instance {index} has {name!r}"
            )
        tensor, size = _tensor_parts(name, value)
        entry = _field(1, _utf8("Parameter 'instances': a name of an input", name)) + b"\x12" + _varint(size)
        head = b"\x0a" + _varint(len(entry) + size) + entry
        parts.append(head)
        parts += tensor
        total += len(head) + size
    return parts, total


def write_request(servable: str, method: str, version: int, instances: object, max_bytes: int | None = None) -> bytes:
    """A PredictRequest. RuntimeError for values that cannot be sent; TooLarge, before anything large is copied."""
    if isinstance(instances, Mapping):
        instances = (instances,)
    if not isinstance(instances, (list, tuple)):
        raise RuntimeError(
            f"Parameter 'instances' should be a dict, or a list or tuple of dicts, but is of type"
            f" {type(instances).__name__}"
        )
    spec = _field(1, _utf8("The servable's name", servable)) + _field(2, _utf8("The method's name", method))
    if version:
        spec += b"\x18" + _varint(version)
    parts: list[Part] = [_field(1, spec)]
    total = len(parts[0])
    for index, instance in enumerate(instances):
        instance_parts, size = _instance_parts(instance, index)
        head = b"\x12" + _varint(size)
        parts.append(head)
        parts += instance_parts
        total += len(head) + size
    if max_bytes is not None and total > max_bytes:
        raise TooLarge(total, max_bytes)
    return b"".join([part if isinstance(part, bytes) else _packed(part).data.cast("B") for part in parts])


class _BadReply(Exception):
    pass


def _read_varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise _BadReply("a varint is cut off")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Numbers and values of a message's fields: an int for a varint, else a view of the bytes."""
    at = 0
    end = len(data)
    while at < end:
        key, at = _read_varint(data, at)
        number, wire_type = key >> 3, key & 7
        if wire_type == 0:
            value, at = _read_varint(data, at)
            yield number, value
            continue
        if wire_type == 2:
            size, at = _read_varint(data, at)
        elif wire_type == 1:
            size = 8
        elif wire_type == 5:
            size = 4
        else:
            raise _BadReply(f"field {number} has wire type {wire_type}")
        if size > end - at:
            raise _BadReply(f"field {number} has {size} bytes, but {end - at} are left")
        yield number, data[at : at + size]
        at += size


def _view(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise _BadReply("a number stands where bytes should be")
    return value


def _number(value: int | memoryview) -> int:
    if not isinstance(value, int):
        raise _BadReply("bytes stand where a number should be")
    return value


def _read_dims(shape: memoryview) -> list[int]:
    dims: list[int] = []
    for number, value in _fields(shape):
        if number != 1:
            continue
        if isinstance(value, int):
            dims.append(value)
            continue
        at = 0
        while at < len(value):
            dim, at = _read_varint(value, at)
            dims.append(dim)
    return dims


def _read_tensor(tensor: memoryview) -> Any:
    dims: list[int] = []
    dtype = 0
    data = memoryview(b"")
    texts: list[memoryview] = []
    for number, value in _fields(tensor):
        if number == 1:
            dims = _read_dims(_view(value))
        elif number == 2:
            dtype = _number(value)
        elif number == 3:
            data = _view(value)
        elif number == 4:
            texts.append(_view(value))
    if dtype in (_STRING, _BYTES):
        values = [str(text, "utf-8") if dtype == _STRING else bytes(text) for text in texts]
        return values[0] if len(values) == 1 else values
    if dtype not in _DTYPES:
        raise _BadReply(f"a tensor has the unknown dtype {dtype}")
    array = np.frombuffer(data, _DTYPES[dtype])
    return array.reshape(dims)


def _read_instance(instance: memoryview) -> dict[str, Any]:
    outputs: dict[str, Any] = {}
    for number, entry in _fields(instance):
        if number != 1:
            continue
        name = ""
        tensor = memoryview(b"")
        for part, value in _fields(_view(entry)):
            if part == 1:
                name = str(_view(value), "utf-8")
            elif part == 2:
                tensor = _view(value)
        outputs[name] = _read_tensor(tensor)
    return outputs


def _read_error(error: memoryview) -> tuple[int, str]:
    code = 0
    text = ""
    for number, value in _fields(error):
        if number == 1:
            code = _number(value)
        elif number == 2:
            text = str(_view(value), "utf-8", "replace")
    return code, text


def read_reply(reply: bytes) -> list[dict[str, Any]] | dict[str, str]:
    """The answer of Client.infer, of a PredictReply. RuntimeError if it is none."""
    try:
        instances: list[memoryview] = []
        errors: list[tuple[int, str]] = []
        for number, value in _fields(memoryview(reply)):
            if number == 3:
                instances.append(_view(value))
            elif number == 4:
                errors.append(_read_error(_view(value)))
        if len(errors) == 1 and not instances and errors[0][0] != 0:
            return {"error": errors[0][1]}
        if errors and len(errors) != len(instances):
            raise _BadReply(f"it has {len(instances)} instances and {len(errors)} errors")
        return [
            {"error": errors[index][1]} if errors and errors[index][0] != 0 else _read_instance(instance)
            for index, instance in enumerate(instances)
        ]
    except (_BadReply, ValueError) as error:
        raise RuntimeError(f"The server's reply cannot be read: {error}") from error
