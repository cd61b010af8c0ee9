"""Messages of protocol buffers, field by field."""

from __future__ import annotations

import pytest
from servoir.protobuf_wire import Malformed, field, fields


def test_fields_of_each_kind() -> None:
    message = b"\x08\x96\x01" + b"\x11" + bytes(8) + field(3, b"text") + b"\x25" + bytes(4)
    found = [
        (number, bytes(value) if isinstance(value, memoryview) else value, start, end)
        for number, value, start, end in fields(memoryview(message))
    ]
    assert found == [(1, 150, 0, 3), (2, None, 3, 12), (3, b"text", 12, 18), (4, None, 18, 23)]


def test_a_field_of_many_bytes() -> None:
    ((number, value, _, end),) = fields(memoryview(field(300, bytes(1000))))
    assert isinstance(value, memoryview)
    assert (number, len(value), end) == (300, 1000, 1004)


@pytest.mark.parametrize("message", [b"\x08", b"\x0a\x05text", b"\x0b", b"\x11\x00", b"\xff" * 11, b"\x0a\x80"])
def test_what_is_no_message(message: bytes) -> None:
    with pytest.raises(Malformed):
        list(fields(memoryview(message)))
