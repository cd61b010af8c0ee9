"""Standard streams that are closed, full, or read by nobody: the server starts, serves, restarts workers and ends."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.processes import alive, wait_until
from support.rest_client import left_out_records
from support.scripts import PLAIN, ask, write_servables
from support.servers import SERVE, ServerProcess, connects, serve_options

STREAMS = {
    "no standard input": 'exec "$@" <&-',
    "no standard output": 'exec "$@" >&-',
    "no standard error": 'exec "$@" 2>&-',
    "none": 'exec "$@" <&- >&- 2>&-',
    "a reader that has left": 'exec 3> >(head -1); echo first >&3; wait $!; exec "$@" >&3',
    "a full disk": 'exec "$@" >/dev/full 2>&1',
}


@contextmanager
def served(work: Path, streams: str) -> Iterator[ServerProcess]:
    """A server with these streams, that answers."""
    write_servables(work / "models", {"s": PLAIN})
    servable = {"servable_directory": str(work / "models"), "servable_name": "s"}
    server = ServerProcess(
        [str(SERVE), *serve_options([servable])],
        work,
        {"SERVOIR_LOG": "debug"},
        prefix=["bash", "-c", streams, "bash"],
    )
    try:
        wait_until(lambda: connects(server.rest) or not server.running(), 30, "a server that listens")
        assert_answers(server)
        yield server
    finally:
        server.kill()


def assert_answers(server: ServerProcess) -> None:
    answer = wait_until(lambda: isinstance(ask(server), list) and ask(server), 30, "an answer")
    assert answer[0]["y"] == 5


def replace_worker(server: ServerProcess) -> None:
    (worker,) = server.workers()
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: not alive(worker), 10, "the end of the worker")
    assert_answers(server)


@pytest.mark.parametrize("streams", STREAMS)
def test_streams_that_take_nothing(tmp_path: Path, streams: str) -> None:
    with served(tmp_path, STREAMS[streams]) as server:
        if streams == "none":
            replace_worker(server)
        assert server.stop() == 0


def test_full_pipes_that_nobody_reads(tmp_path: Path) -> None:
    """Restarts and SIGTERM go on: records of the supervisor are dropped like all others."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    kept = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    try:
        while True:
            os.write(kept, b"x" * 4096)
    except BlockingIOError:
        pass
    try:
        with served(tmp_path / "work", f'exec "$@" >{pipe} 2>&1') as server:
            replace_worker(server)
            assert left_out_records(server) > 0
            assert server.stop() == 0
    finally:
        os.close(kept)
