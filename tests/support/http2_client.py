"""Clients at the level of bytes and of HTTP/2's frames, for what a proper client would never send."""

from __future__ import annotations

import socket
import struct

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings

from support.foreign_client import PATH

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def connect(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=10)


def read_to_end(connection: socket.socket) -> bytes:
    """What the server sends until it closes; a reset is an end, too."""
    data = b""
    try:
        while piece := connection.recv(65536):
            data += piece
    except ConnectionResetError:
        pass
    return data


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


class Http2:
    """One HTTP/2 connection at the level of frames, for gRPC calls that are not quite right."""

    def __init__(self, address: str, **settings: int) -> None:
        self.socket = connect(address)
        config = h2.config.H2Configuration(client_side=True, header_encoding="utf-8", validate_outbound_headers=False)
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()
        if settings:
            self.h2.update_settings({getattr(h2.settings.SettingCodes, k): v for k, v in settings.items()})
        self.flush()

    def __enter__(self) -> Http2:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def flush(self) -> None:
        self.socket.sendall(self.h2.data_to_send())

    def is_open(self) -> bool:
        """Takes in what the server has sent so far; whether it has closed the connection."""
        self.socket.setblocking(False)
        try:
            while data := self.socket.recv(65536):
                self.h2.receive_data(data)
        except BlockingIOError:
            return True
        finally:
            self.socket.settimeout(10)
        return False

    def start_call(self, path: str = PATH, **headers: str) -> int:
        stream = self.h2.get_next_available_stream_id()
        fields = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "test"}
        fields |= {"content-type": "application/grpc", "te": "trailers"}
        fields |= {name.replace("_", "-"): value for name, value in headers.items()}
        self.h2.send_headers(stream, list(fields.items()))
        return stream

    def call(self, message: bytes, path: str = PATH) -> int:
        stream = self.start_call(path)
        self.h2.send_data(stream, struct.pack(">BI", 0, len(message)) + message, end_stream=True)
        self.flush()
        return stream

    def grpc_status(self, stream: int) -> int | None:
        """Reads until the stream ends; the status of its trailers, None for a reset or a closed connection."""
        status = None
        while data := self.socket.recv(65536):
            for event in self.h2.receive_data(data):
                if isinstance(event, h2.events.DataReceived):
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                if getattr(event, "stream_id", None) != stream:
                    continue
                for name, value in getattr(event, "headers", None) or []:
                    if name == "grpc-status":
                        status = int(value)
                if isinstance(event, h2.events.StreamEnded):
                    return status
                if isinstance(event, h2.events.StreamReset):
                    return None
            self.flush()
        return None
