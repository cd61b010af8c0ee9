"""The control socket between server and worker, a Unix socket.

message := length (4 bytes, little-endian, of the body) body (JSON, see servoir.control.messages)
"""

from __future__ import annotations

import socket
import struct
import threading

from servoir.control import messages
from servoir.control.messages import Message
from servoir.errors import ControlError

MAX_MESSAGE_BYTES = 64 << 20
LOST_SERVER = 113  # exit status of a worker whose control socket was closed; no function is to blame for that
_LENGTH = struct.Struct("<I")


class ControlSocket:
    """One end. Any thread sends, one thread receives."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._sending = threading.Lock()
        self._received = bytearray()

    def fileno(self) -> int:
        return self._socket.fileno()

    def set_timeout(self, seconds: float | None) -> None:
        self._socket.settimeout(seconds)

    def send(self, message: Message) -> None:
        """ControlError when the other end is gone, or reads nothing for longer than the timeout."""
        body = message.to_json().encode()
        if len(body) > MAX_MESSAGE_BYTES:
            raise ControlError(f"a control message has {len(body)} bytes; {MAX_MESSAGE_BYTES} are possible")
        try:
            with self._sending:
                self._socket.sendall(_LENGTH.pack(len(body)) + body)
        except OSError as error:
            raise ControlError(f"the control socket cannot be written: {error}") from error

    def receive(self) -> Message | None:
        """The next message; waits for it. None when the other end has closed."""
        while True:
            taken = self._take(1)
            if taken:
                return taken[0]
            if not self._read():
                return None

    def receive_ready(self) -> tuple[list[Message], bool]:
        """After the socket has become readable: the messages that are whole by now, and whether it is still open."""
        is_open = self._read()
        return self._take(None), is_open

    def _read(self) -> bool:
        try:
            data = self._socket.recv(1 << 16)
        except ConnectionError:
            return False
        except OSError as error:
            raise ControlError(f"the control socket cannot be read: {error}") from error
        self._received += data
        return bool(data)

    def _take(self, limit: int | None) -> list[Message]:
        taken: list[Message] = []
        while len(self._received) >= _LENGTH.size and (limit is None or len(taken) < limit):
            (length,) = _LENGTH.unpack_from(self._received)
            if length > MAX_MESSAGE_BYTES:
                raise ControlError(f"a control message announces {length} bytes; {MAX_MESSAGE_BYTES} are possible")
            end = _LENGTH.size + length
            if len(self._received) < end:
                break
            body = bytes(self._received[_LENGTH.size : end])
            del self._received[:end]
            taken.append(messages.from_json(body))
        return taken

    def close(self) -> None:
        self._socket.close()
