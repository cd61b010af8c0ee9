"""Stages and models that start processes: the child's signals are its own, and the worker goes on."""

from __future__ import annotations

import functools
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from servoir.client import Client
from support.processes import processes_with, wait_until
from support.scripts import RunScript, assert_answers
from support.servers import ServerProcess, Start, keeping_its_workers

CASES = {
    "terminated": "-15",
    "interrupted": "1",  # as by any KeyboardInterrupt
    "daemon": "-15",
    "spawned": "-15",
    "pool": "30",
    "pool of forkserver": "30",
    "executor": "30",
    "returns": "0",
    "raises": "1",
    "exits": "7",
    "exits with a text": "1",
    "program": "-15",
    "program after a hook": "-15",
    "handlers": "True",
    "descriptors": "[]",
    "descriptors of a program": "[]",
}


@pytest.fixture(scope="module")
def server(start_for_module: Start) -> Iterator[ServerProcess]:
    server = start_for_module("children", device_ids=0)
    with keeping_its_workers(server):
        yield server
    server.stop()
    wait_until(lambda: not processes_with(server.mark), 10, "the end of all that the stages have started")


def ask(server: ServerProcess, method: str, *cases: str) -> list[str]:
    with Client(server.grpc, "children", method) as client:
        answers = client.infer([{"name": case} for case in cases], timeout=30)
    assert isinstance(answers, list), answers
    return [str(answer.get("y", answer)) for answer in answers]


@pytest.mark.parametrize("case", CASES)
def test_a_child_is_a_process_of_its_own(server: ServerProcess, case: str) -> None:
    assert ask(server, "case", case) == [CASES[case]]


@pytest.mark.parametrize("method", ["batched", "generated"])
def test_a_child_that_comes_out_of_a_batch_answers_nothing(server: ServerProcess, method: str) -> None:
    cases = ("terminated", "raises", "returns", "exits")
    assert ask(server, method, *cases) == [CASES[case] for case in cases]


def test_a_child_cannot_call_a_model(server: ServerProcess) -> None:
    (text,) = ask(server, "case", "model call")
    assert "a model can be called in the worker's own process only" in text


def test_a_model_may_start_processes_as_well(server: ServerProcess) -> None:
    with Client(server.grpc, "children", "in_a_model") as client:
        (answer,) = client.infer({"x": np.full(1, 3, np.float32)}, timeout=30)
    assert answer.get("y", answer) == 6


def open_connection(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=10)


def descriptors(pid: int) -> list[str]:
    """What the descriptors of a process are, without the standard streams."""
    return [os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir() if int(link.name) > 2]


FORKS = {
    "fork": """
        pid = os.fork()
        if not pid:
            time.sleep(600)
            os._exit(0)
    """,
    "multiprocessing": """
        import multiprocessing
        process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
        process.start()
        pid = process.pid
    """,
}


def is_free(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            again.bind((host, int(port)))
            again.listen()
        except OSError:
            return False
    return True


@pytest.mark.parametrize("fork", FORKS)
def test_a_child_of_the_servers_process_keeps_nothing_of_it(run: RunScript, fork: str) -> None:
    script = run(
        """
        server.start_servables(config())
        server.start_grpc_server(GRPC)
        server.start_restful_server(REST)
        await_file("connected")
        """
        + FORKS[fork]
        + """
        say("child", pid)
        await_file("never")
    """
    )
    script.ready()
    assert_answers(script)
    connections = [open_connection(address) for address in (script.grpc, script.rest)]
    # An answer shows that the connection has been accepted.
    connections[1].sendall(b"GET /metrics HTTP/1.1\r\nHost: s\r\n\r\n")
    assert connections[1].recv(8) == b"HTTP/1.1"
    connections[0].sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
    assert connections[0].recv(4)
    (script.work / "connected").touch()
    wait_until(lambda: script.said("child"), 10, "the child")
    child = int(script.said("child")[0])
    of_the_server = ("socket:", "/memfd:servoir", "anon_inode:[pidfd]")
    wait_until(lambda: not [what for what in descriptors(child) if what.startswith(of_the_server)], 5, "their end")
    assert "servoir-arena" not in Path(f"/proc/{child}/maps").read_text()
    assert_answers(script)  # the parent has all of it still
    os.kill(script.pid, signal.SIGKILL)
    for connection in connections:
        while connection.recv(4096):  # to its end, or a reset
            pass
        connection.close()
    for address in (script.grpc, script.rest):
        # The kernel closes what the server had one after the other, listening sockets perhaps last.
        wait_until(functools.partial(is_free, address), 5, f"{address}, free again")
    assert os.path.exists(f"/proc/{child}")
    os.kill(child, signal.SIGKILL)
