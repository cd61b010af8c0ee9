"""Messages in the wire form of protocol buffers, field by field: what writing requests and reading ONNX files takes.

The client reads replies by itself, in client/codec.py: where it reads a field its speed counts.

The form: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterator


class Malformed(ValueError):
    """The bytes are no message."""


def fields(message: memoryview) -> Iterator[tuple[int, int | memoryview | None, int, int]]:
    """(number, value, start, end) of each field. The value of a number is an int, that of a text or a message its
    bytes; it is None for a number of fixed size. Start and end are those of the whole field in the message.

    Malformed where the bytes are no message.
    """
    position = 0
    while position < len(message):
        start = position
        tag, position = _read_varint(message, position)
        value: int | memoryview | None = None
        wire = tag & 7
        if wire == 0:
            value, position = _read_varint(message, position)
        elif wire == 2:
            length, position = _read_varint(message, position)
            value = message[position : position + length]
            position += length
        elif wire in (1, 5):
            position += 8 if wire == 1 else 4
        else:
            raise Malformed(f"wire type {wire}")
        if position > len(message):
            raise Malformed("a field is longer than its message")
        yield tag >> 3, value, start, position


def numbers(packed: memoryview) -> list[int]:
    """Those of a repeated field that is packed. Malformed where the last one has no end."""
    found, position = [], 0
    while position < len(packed):
        value, position = _read_varint(packed, position)
        found.append(value)
    return found


def field(number: int, payload: bytes) -> bytes:
    """A field that is a text or a message."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def varint(value: int) -> bytes:
    """A number that is not negative."""
    if value < 0x80:
        return bytes((value,))
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _read_varint(message: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(message) and shift < 64:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise Malformed("a number has no end")
