"""Descriptors: clients cannot take the last ones, which the server needs to start a worker again."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import ExitStack
from pathlib import Path

from servoir.client import Client
from support.processes import alive, wait_until
from support.servers import SERVE, ServerProcess, running, serve_options

CONFIG = """
import os
import resource
from servoir.server import register

def name(x):
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]

@register.register_method(output_names=["limit"])
def soft_limit(x):
    return register.add_stage(name, x, outputs_count=1)
"""


def server_with(tmp_path: Path, soft: int, hard: int) -> ServerProcess:
    """With these limits of open files."""
    (tmp_path / "models" / "s").mkdir(parents=True)
    (tmp_path / "models" / "s" / "servable_config.py").write_text(CONFIG)
    servable = {"servable_directory": str(tmp_path / "models"), "servable_name": "s"}
    limits = f'ulimit -S -n {soft} && ulimit -H -n {hard} && exec "$@"'
    return ServerProcess([str(SERVE), *serve_options([servable])], tmp_path / "work", prefix=["sh", "-c", limits, "sh"])


def limit_of(server: ServerProcess) -> int:
    """What a worker says; 0 for an error."""
    answer = Client(server.grpc, "s", "soft_limit").infer([{"x": 1}])
    return int(answer[0]["limit"]) if isinstance(answer, list) and "limit" in answer[0] else 0


def connect(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)))


def test_connections_do_not_keep_a_worker_from_being_replaced(tmp_path: Path) -> None:
    with running(server_with(tmp_path, 128, 128)) as server, ExitStack() as connections:
        for _ in range(300):
            connections.enter_context(connect(server.rest))
        wait_until(lambda: any("cannot accept a connection" in line for line in server.lines), 10, "a full server")
        (victim,) = server.workers()
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: not alive(victim), 5, "the end of the worker")
        wait_until(server.workers, 10, "a new worker while the connections are open")
        connections.close()
        wait_until(lambda: limit_of(server) == 128, 10, "an answer")


def test_the_limit_is_raised_for_connections_but_not_for_workers(tmp_path: Path) -> None:
    with running(server_with(tmp_path, 128, 1000)) as server, ExitStack() as connections:
        for _ in range(300):
            connections.enter_context(connect(server.rest))
        assert limit_of(server) == 128
