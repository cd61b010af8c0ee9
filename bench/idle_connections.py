"""Connections of HTTP/2 that say hello and then nothing."""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # and empty SETTINGS


def most_connections() -> int:
    """How many this process may hold; it raises its limit of open files for that."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard - 1000


@contextmanager
def idle_connections(address: str, count: int) -> Iterator[None]:
    """Open, and greeted by the server, while the block runs."""
    host, _, port = address.rpartition(":")
    with ExitStack() as open_ones:
        sockets = [open_ones.enter_context(socket.create_connection((host, int(port)))) for _ in range(count)]
        for connection in sockets:
            connection.sendall(_HELLO)
        for connection in sockets:
            connection.recv(1)
        yield
