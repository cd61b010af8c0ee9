"""Standard error that nobody reads."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from servoir.client import Client
from support.processes import wait_until
from support.servers import SERVE, ServerProcess, running, serve_options

NO_HTTP2 = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def test_a_full_pipe_at_standard_error_stops_nobody(tmp_path: Path, servables: Path) -> None:
    pipe = tmp_path / "stderr"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    servable = {"servable_directory": str(servables), "servable_name": "plain"}
    server = ServerProcess(
        [str(SERVE), *serve_options([servable])],
        tmp_path / "work",
        {"SERVOIR_LOG": "debug"},
        prefix=["sh", "-c", 'exec "$@" 2>' + str(pipe), "sh"],
    )
    host, _, port = server.grpc.rpartition(":")

    def drained() -> str:
        parts = []
        try:
            while part := os.read(reading, 65536):
                parts.append(part)
        except BlockingIOError:
            pass
        return b"".join(parts).decode()

    with running(server):
        # Each of these makes a record of some 100 bytes; a pipe takes 64 KiB.
        for _ in range(1500):
            with socket.create_connection((host, int(port)), timeout=20) as connection:
                connection.sendall(NO_HTTP2)
                while connection.recv(4096):
                    pass
        client = Client(server.grpc, "plain", "kind_of")
        assert isinstance(client.infer([{"x": 1}]), list)
        assert "closing an HTTP/2 connection" in drained()

        def says_what_was_dropped() -> bool:
            with socket.create_connection((host, int(port)), timeout=20) as connection:
                connection.sendall(NO_HTTP2)
                while connection.recv(4096):
                    pass
            return "records before this one were dropped" in drained()

        wait_until(says_what_was_dropped, 10, "how many records were dropped")
    os.close(reading)
