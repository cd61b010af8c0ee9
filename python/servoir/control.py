"""The control socket between server and worker: what is rare.

    message := length (4 bytes, little-endian, of the body) body (a JSON object with "type")

    worker → server                                   server → worker
      hello  {channel_version, version, pid}            load  {servable_directory, name, version, …}: see worker.load
      ready  {spec, functions, models, threads}         exit  {}
      failed {text, traceback}
      leaving {signal}

The worker says hello as soon as it runs, then waits for load, and answers with ready or failed. A worker that was sent
SIGINT or SIGTERM says leaving and serves on until it is told to exit. When the socket is closed the worker ends.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from typing import Any, TypeAlias

Message: TypeAlias = dict[str, Any]

MAX_MESSAGE_BYTES = 64 << 20
_LENGTH = struct.Struct("<I")


class ControlError(RuntimeError):
    """The other end does not speak this protocol, or is gone."""


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
        body = json.dumps(message).encode()
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
            messages = self._take(1)
            if messages:
                return messages[0]
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
        messages: list[Message] = []
        while len(self._received) >= _LENGTH.size and (limit is None or len(messages) < limit):
            (length,) = _LENGTH.unpack_from(self._received)
            if length > MAX_MESSAGE_BYTES:
                raise ControlError(f"a control message announces {length} bytes; {MAX_MESSAGE_BYTES} are possible")
            end = _LENGTH.size + length
            if len(self._received) < end:
                break
            body = bytes(self._received[_LENGTH.size : end])
            del self._received[:end]
            messages.append(_parse(body))
        return messages

    def close(self) -> None:
        self._socket.close()


def _parse(body: bytes) -> Message:
    try:
        message = json.loads(body)
    except ValueError as error:
        raise ControlError(f"a control message is not JSON: {error}") from error
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise ControlError(f"a control message should be an object with a type, but is {body[:100]!r}")
    return message
