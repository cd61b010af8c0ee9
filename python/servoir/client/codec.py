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
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np

from servoir.client.errors import Answer, InferError
from servoir.dtypes import DTYPES, TEXTS
from servoir.protobuf_wire import field, varint

_DTYPE_NUMBERS = {np.dtype(name): number for number, name in enumerate(DTYPES, 1)}
_STRING, _BYTES = range(len(DTYPES) + 1, len(DTYPES + TEXTS) + 1)
_DTYPES = {number: dtype for dtype, number in _DTYPE_NUMBERS.items()}
# The statuses that stand for the protocol's error codes.
_CODES = {1: "INTERNAL", 2: "INVALID_ARGUMENT", 3: "RESOURCE_EXHAUSTED", 4: "UNAVAILABLE", 5: "NOT_FOUND"}
_SMALL = 4096  # up to this size a copy costs less than keeping the array as a part of its own

# Parts of a message, joined in one go at the end; arrays are not copied before it is known that the message is sent.
Part: TypeAlias = bytes | np.ndarray[Any, Any]


class TooLarge(Exception):
    """The message is larger than what may be sent."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"Sent message larger than max ({size} vs. {limit}): send less in one request")


def _utf8(what: str, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise RuntimeError(f"{what} is a str that is no text and cannot be sent: {error}") from None


@lru_cache(1024)
def _shape(dims: tuple[int, ...]) -> bytes:
    """The field of a TensorShape in a Tensor; nothing for a scalar, which is an empty shape."""
    if not dims:
        return b"\x0a\x00"
    return field(1, field(1, b"".join([varint(dim) for dim in dims])))


def _array_parts(name: str, array: np.ndarray[Any, Any]) -> tuple[list[Part], int]:
    """Parts of a Tensor message, and how many bytes they are."""
    number = _DTYPE_NUMBERS.get(array.dtype)
    is_native = number is not None
    if number is None:
        if array.dtype.kind in "ST":
            return _text_array_parts(name, array)
        little = array.dtype.newbyteorder("<")
        if little not in _DTYPE_NUMBERS:
            raise RuntimeError(
                f"Input '{name}': arrays of dtype {array.dtype} cannot be sent; bool, integers of 8 to 64 bits and"
                f" floats of 16 to 64 bits can, and texts as arrays of bytes ('S') or of numpy.dtypes.StringDType"
            )
        number = _DTYPE_NUMBERS[little]
    head = _shape(array.shape) + bytes((0x10, number))
    size = array.nbytes
    head += b"\x1a" + varint(size)
    if size <= _SMALL:
        data = head + (array if is_native else _packed(array)).tobytes()
        return [data], len(data)
    return [head, array], len(head) + size


def _text_array_parts(name: str, array: np.ndarray[Any, Any]) -> tuple[list[Part], int]:
    """An array of bytes, or of NumPy's StringDType: a bytes_val for each element."""
    number = _BYTES if array.dtype.kind == "S" else _STRING
    texts = [text if isinstance(text, bytes) else _utf8(f"Input '{name}'", text) for text in array.ravel().tolist()]
    data = _shape(array.shape) + bytes((0x10, number)) + b"".join([field(4, text) for text in texts])
    return [data], len(data)


def _packed(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Returns the array's values in C order and little-endian."""
    return np.asarray(array, array.dtype.newbyteorder("<"), order="C")


def _tensor_parts(name: str, value: object) -> tuple[list[Part], int]:
    if isinstance(value, np.ndarray):
        return _array_parts(name, value)
    if isinstance(value, np.number):
        return _array_parts(name, np.asarray(value))
    if isinstance(value, bool):
        data = b"\x0a\x00\x10\x01\x1a\x01" + (b"\x01" if value else b"\x00")
    elif isinstance(value, int):
        if not -(1 << 63) <= value < 1 << 63:
            raise RuntimeError(f"Input '{name}': {value} does not fit in int64")
        data = b"\x0a\x00\x10\x08\x1a\x08" + struct.pack("<q", value)
    elif isinstance(value, float):
        data = b"\x0a\x00\x10\x0c\x1a\x08" + struct.pack("<d", value)
    elif isinstance(value, str):
        data = b"\x0a\x03\x0a\x01\x01\x10\x0d" + field(4, _utf8(f"Input '{name}'", value))
    elif isinstance(value, bytes):
        data = b"\x0a\x03\x0a\x01\x01\x10\x0e" + field(4, value)
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
        entry = field(1, _utf8("Parameter 'instances': a name of an input", name)) + b"\x12" + varint(size)
        head = b"\x0a" + varint(len(entry) + size) + entry
        parts.append(head)
        parts += tensor
        total += len(head) + size
    return parts, total


@lru_cache(64)
def _spec(servable: str, method: str, version: int) -> bytes:
    spec = field(1, _utf8("The servable's name", servable)) + field(2, _utf8("The method's name", method))
    if version:
        spec += b"\x18" + varint(version)
    return field(1, spec)


def write_request(servable: str, method: str, version: int, instances: object, max_bytes: int | None = None) -> bytes:
    """Writes a PredictRequest. Raises RuntimeError for values that cannot be sent, and TooLarge before anything large
    is copied."""
    if isinstance(instances, Mapping):
        instances = (instances,)
    if not isinstance(instances, (list, tuple)):
        raise RuntimeError(
            f"Parameter 'instances' should be a dict, or a list or tuple of dicts, but is of type"
            f" {type(instances).__name__}"
        )
    parts: list[Part] = [_spec(servable, method, version)]
    total = len(parts[0])
    for index, instance in enumerate(instances):
        instance_parts, size = _instance_parts(instance, index)
        head = b"\x12" + varint(size)
        parts.append(head)
        parts += instance_parts
        total += len(head) + size
    if max_bytes is not None and total > max_bytes:
        raise TooLarge(total, max_bytes)
    return b"".join([part if isinstance(part, bytes) else _packed(part).data.cast("B") for part in parts])


class _BadReply(Exception):
    pass


# A field of a message: its number, and where in the reply its bytes begin and end. Of a number the value stands for the
# beginning, and _NUMBER for the end. Places in the reply's bytes cost much less than views of them.
_Field: TypeAlias = tuple[int, int, int]
_NUMBER = -1


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if shift > 63:
            raise _BadReply("a varint is too long")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _fields(data: bytes, at: int, end: int) -> list[_Field]:
    """The fields of the message in data[at:end]."""
    fields: list[_Field] = []
    while at < end:
        key = data[at]
        at += 1
        if key >= 0x80:
            key, at = _read_varint(data, at - 1)
        number, wire_type = key >> 3, key & 7
        if wire_type in (0, 2):
            size = data[at]
            at += 1
            if size >= 0x80:
                size, at = _read_varint(data, at - 1)
            if wire_type == 0:
                if at > end:
                    raise _BadReply("a varint is cut off")
                fields.append((number, size, _NUMBER))
                continue
        elif wire_type == 1:
            size = 8
        elif wire_type == 5:
            size = 4
        else:
            raise _BadReply(f"field {number} has wire type {wire_type}")
        if size > end - at:
            raise _BadReply(f"field {number} has {size} bytes, but {end - at} are left")
        fields.append((number, at, at + size))
        at += size
    return fields


def _message(data: bytes, at: int, end: int) -> list[_Field]:
    """The fields of the message that a field holds."""
    if end == _NUMBER:
        raise _BadReply("a number stands where bytes should be")
    return _fields(data, at, end)


def _bytes(data: bytes, at: int, end: int) -> bytes:
    if end == _NUMBER:
        raise _BadReply("a number stands where bytes should be")
    return data[at:end]


def _number(value: int, end: int) -> int:
    if end != _NUMBER:
        raise _BadReply("bytes stand where a number should be")
    return value


def _read_dims(data: bytes, at: int, end: int) -> list[int]:
    dims: list[int] = []
    for number, begin, stop in _message(data, at, end):
        if number != 1:
            continue
        if stop == _NUMBER:
            dims.append(begin)
            continue
        place = begin
        while place < stop:
            dim, place = _read_varint(data, place)
            dims.append(dim)
        if place > stop:
            raise _BadReply("a shape is cut off")
    return dims


def _read_tensor(data: bytes, at: int, end: int) -> Any:
    dims: list[int] = []
    number_of_dtype = begin = stop = 0
    texts: list[bytes] = []
    for number, value, value_end in _message(data, at, end):
        if number == 3:
            begin, stop = value, value_end
        elif number == 2:
            number_of_dtype = _number(value, value_end)
        elif number == 1:
            dims = _read_dims(data, value, value_end)
        elif number == 4:
            texts.append(_bytes(data, value, value_end))
    dtype = _DTYPES.get(number_of_dtype)
    if dtype is not None:
        if stop == _NUMBER:
            raise _BadReply("a number stands where bytes should be")
        count, rest = divmod(stop - begin, dtype.itemsize)
        if rest:
            raise _BadReply(f"a tensor of {dtype} has {stop - begin} bytes")
        array = np.frombuffer(data, dtype, count, begin) if count else np.frombuffer(b"", dtype)
        return array if len(dims) == 1 and dims[0] == count else array.reshape(dims)
    if number_of_dtype not in (_STRING, _BYTES):
        raise _BadReply(f"a tensor has the unknown dtype {number_of_dtype}")
    values = [text.decode() for text in texts] if number_of_dtype == _STRING else texts
    if len(dims) > 1:
        return np.array(values, object).reshape(dims).tolist()
    return values[0] if len(values) == 1 else values


def _read_instance(data: bytes, at: int, end: int) -> dict[str, Any]:
    outputs: dict[str, Any] = {}
    for number, entry, entry_end in _message(data, at, end):
        if number != 1:
            continue
        name = ""
        begin = stop = 0
        for part, value, value_end in _message(data, entry, entry_end):
            if part == 1:
                name = _bytes(data, value, value_end).decode()
            elif part == 2:
                begin, stop = value, value_end
        outputs[name] = _read_tensor(data, begin, stop)
    return outputs


def _read_error(data: bytes, at: int, end: int) -> tuple[int, str]:
    code = 0
    text = ""
    for number, value, value_end in _message(data, at, end):
        if number == 1:
            code = _number(value, value_end)
        elif number == 2:
            text = _bytes(data, value, value_end).decode("utf-8", "replace")
    return code, text


def read_outcome(reply: bytes) -> list[dict[str, Any]] | InferError:
    """Makes the outcome of a request from a PredictReply. Raises RuntimeError if the bytes are not one."""
    try:
        instances: list[_Field] = []
        errors: list[tuple[int, str]] = []
        for found in _fields(reply, 0, len(reply)):
            if found[0] == 3:
                instances.append(found)
            elif found[0] == 4:
                errors.append(_read_error(reply, found[1], found[2]))
        if not errors:
            return [_read_instance(reply, at, end) for _, at, end in instances]
        if len(errors) == 1 and not instances and errors[0][0] != 0:
            return InferError.of_request(_CODES.get(errors[0][0], "UNKNOWN"), errors[0][1])
        if len(errors) != len(instances):
            raise _BadReply(f"it has {len(instances)} instances and {len(errors)} errors")
        answer: list[dict[str, Any]] = []
        failed: dict[int, InferError] = {}
        for index, ((_, at, end), (code, text)) in enumerate(zip(instances, errors, strict=True)):
            if code != 0:
                failed[index] = InferError.of_request(_CODES.get(code, "UNKNOWN"), text)
            answer.append({"error": text} if code != 0 else _read_instance(reply, at, end))
        return InferError.of_instances(failed, answer) if failed else answer
    except IndexError:
        raise RuntimeError("The server's reply cannot be read: it is cut off") from None
    except (_BadReply, ValueError) as error:
        raise RuntimeError(f"The server's reply cannot be read: {error}") from error


def read_reply(reply: bytes) -> Answer:
    """Makes the answer of Client.infer from a PredictReply. Raises RuntimeError if the bytes are not one."""
    outcome = read_outcome(reply)
    return outcome.answer if isinstance(outcome, InferError) else outcome
