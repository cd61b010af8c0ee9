"""The server's end, by every kind of signal: nothing is left behind."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foreign_client import ForeignClient
from server_process import ServerProcess, alive, processes_with, wait_until

Start = Callable[..., ServerProcess]


def shared_memory() -> set[str]:
    """Names in /dev/shm, and files in /tmp that look like ours."""
    return set(os.listdir("/dev/shm")) | {name for name in os.listdir("/tmp") if "servoir" in name.lower()}


def files_of(server: ServerProcess) -> list[str]:
    """What the server left in its directory, logs aside."""
    return sorted(
        str(path.relative_to(server.work))
        for path in server.work.rglob("*")
        if not path.is_dir() and path.parent.name != "serving_logs"
    )


def assert_ports_are_free(server: ServerProcess) -> None:
    for address in (server.grpc, server.rest):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", int(address.rpartition(":")[2])))
            probe.listen()


@pytest.fixture(params=["idle", "in a Python sleep", "in a Python loop"])
def busy_server(request: pytest.FixtureRequest, start: Start, stubs: Any, tmp_path: Path) -> Any:
    before = shared_memory()
    server = start("plain", "exact", device_ids=(0, 1), num_parallel_workers=3)
    with ForeignClient(stubs, server.grpc) as client:
        client.call("exact", "multiply", {"x": np.zeros(16, np.float32)})
        calls = []
        if request.param != "idle":
            hold = client.request("plain", "hold", [{"directory": str(tmp_path)}])
            calls.append(client.stub.Predict.future(hold, timeout=60))
            wait_until(lambda: list(tmp_path.glob("held-*")), 10, "a busy worker")
        if request.param == "in a Python loop":
            spin = client.request("plain", "spin", [{"x": np.zeros(1)}])
            calls += [client.stub.Predict.future(spin, timeout=60) for _ in range(2)]
        yield server
        for call in calls:
            call.cancel()
    assert files_of(server) == []
    assert shared_memory() <= before


def test_killed_server_leaves_nothing(busy_server: ServerProcess) -> None:
    workers = busy_server.workers()
    assert len(workers) == 6
    busy_server.process.kill()
    killed = time.monotonic()
    busy_server.process.wait()
    wait_until(lambda: not any(alive(pid) for pid in workers), 1, "the end of every worker")
    print(f"workers gone {time.monotonic() - killed:.3f} s after the server was killed")
    assert processes_with(busy_server.mark) == []
    assert_ports_are_free(busy_server)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_server_ended_by_a_signal_leaves_nothing(busy_server: ServerProcess, number: int) -> None:
    workers = busy_server.workers()
    busy_server.stop(number, seconds=14)
    assert not any(alive(pid) for pid in workers)
    assert processes_with(busy_server.mark) == []
    assert_ports_are_free(busy_server)


def test_a_servable_that_fails_to_start_says_why(tmp_path: Path) -> None:
    config = tmp_path / "broken" / "servable_config.py"
    config.parent.mkdir()
    config.write_text("from servoir.server import register\nthis_name_is_not_defined\n")
    with pytest.raises(AssertionError, match="this_name_is_not_defined"):
        ServerProcess.serving(
            tmp_path / "work", [{"servable_directory": str(tmp_path), "servable_name": "broken", "device_ids": 0}]
        )
