"""The control socket's framing, whole, in pieces, and broken."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Iterator

import pytest
from servoir.control.messages import Exit, Failed, Hello, Leaving
from servoir.control.socket import MAX_MESSAGE_BYTES, ControlSocket
from servoir.errors import ControlError


@pytest.fixture
def pair() -> Iterator[tuple[ControlSocket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ControlSocket(ours), theirs


def frame(body: bytes) -> bytes:
    return struct.pack("<I", len(body)) + body


def test_messages_arrive_whole_and_in_order(pair: tuple[ControlSocket, socket.socket]) -> None:
    control, theirs = pair
    other = ControlSocket(theirs)
    messages = [Hello("1.0", 3, 1), Failed("ä" * 300_000, ""), Exit()]
    sender = threading.Thread(target=lambda: list(map(other.send, messages)))
    sender.start()
    assert [control.receive() for _ in messages] == messages
    sender.join()


def test_pieces_are_put_together(pair: tuple[ControlSocket, socket.socket]) -> None:
    control, theirs = pair
    data = frame(b'{"type": "exit"}') + frame(b'{"type": "leaving", "signal": 2}')
    seen = []
    for byte in data:
        theirs.sendall(bytes([byte]))
        messages, is_open = control.receive_ready()
        assert is_open
        seen += messages
    assert seen == [Exit(), Leaving(2)]
    theirs.sendall(data)
    assert len(control.receive_ready()[0]) == 2


def test_the_other_end_is_gone(pair: tuple[ControlSocket, socket.socket]) -> None:
    control, theirs = pair
    theirs.sendall(frame(b'{"type": "leaving", "signal": 15}') + b"\x05")
    theirs.close()
    assert control.receive() == Leaving(15)
    assert control.receive() is None
    assert control.receive_ready() == ([], False)
    with pytest.raises(ControlError, match="cannot be written"):
        control.send(Exit())


def test_nobody_reads(pair: tuple[ControlSocket, socket.socket]) -> None:
    control, _ = pair
    control.set_timeout(0.01)
    with pytest.raises(ControlError, match="cannot be written"):
        control.send(Failed("y" * 10_000_000, ""))


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (frame(b"{"), "not JSON"),
        (frame(b"\xff\xfe"), "not JSON"),
        (frame(b""), "not JSON"),
        (frame(b"[]"), "an object with a type"),
        (frame(b"{}"), "an object with a type"),
        (frame(json.dumps({"type": 1}).encode()), "an object with a type"),
        (frame(b'{"type": "leaving"}'), "'leaving' has no field 'signal'"),
        (struct.pack("<I", MAX_MESSAGE_BYTES + 1), "announces"),
    ],
)
def test_broken_messages(pair: tuple[ControlSocket, socket.socket], data: bytes, text: str) -> None:
    control, theirs = pair
    theirs.sendall(data)
    with pytest.raises(ControlError, match=text):
        control.receive()
