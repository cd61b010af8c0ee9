"""A server script as a process of its own: started, waited for, stopped."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.processes import Program, ProgramError, free_port

SERVE = Path(__file__).resolve().parent / "serve.py"
LISTENING = "start success, listening on"

started: list[ServerProcess] = []  # and not yet killed


def free_address() -> str:
    return f"127.0.0.1:{free_port()}"


class ServerProcess(Program):
    """`arguments` is the script and its arguments; the addresses of both servers come after them, as --grpc and --rest.
    `addresses`: those of gRPC and REST that the script has in it, where it takes no options. ready() waits until both
    listen. `env` comes on top of our own environment."""

    def __init__(
        self,
        arguments: Sequence[str],
        work: Path,
        env: Mapping[str, str] | None = None,
        *,
        prefix: Sequence[str] = (),
        addresses: tuple[str, str] | None = None,
    ) -> None:
        self.grpc, self.rest = addresses or (free_address(), free_address())
        self.ready_seconds = 0.0  # from the start until both listened
        self._listening = threading.Semaphore(0)
        if addresses is None:
            arguments = [*arguments, "--grpc", self.grpc, "--rest", self.rest]
        super().__init__(arguments, work, {**os.environ, **(env or {})}, prefix=prefix)
        started.append(self)

    @classmethod
    def serving(
        cls,
        work: Path,
        servables: list[dict[str, Any]],
        *options: str,
        env: Mapping[str, str] | None = None,
        seconds: float = 30,
    ) -> ServerProcess:
        """serve.py with these ServableStartConfigs, ready within so many seconds."""
        server = cls([str(SERVE), *options, *serve_options(servables)], work, env)
        try:
            server.ready(seconds)
        except BaseException:
            server.kill()
            raise
        return server

    def _read(self, stream: Any, lines: list[str]) -> None:
        super()._read(stream, lines)
        self._listening.release(2)  # a thread that waits is to see that it has ended

    def on_line(self, line: str) -> None:
        if LISTENING in line:
            self._listening.release()

    def ready(self, seconds: float = 30) -> float:
        """Waits until both servers listen, once; the seconds that this took since the start."""
        deadline = time.monotonic() + seconds
        for _ in range(2):
            self._listening.acquire(timeout=max(0.0, deadline - time.monotonic()))
        if sum(LISTENING in line for line in self.lines) < 2:
            raise ProgramError(f"the server was not ready within {seconds:g} s:\n{self.log()}")
        self.ready_seconds = time.monotonic() - self.started
        return self.ready_seconds

    def kill(self) -> None:
        super().kill()
        if self in started:
            started.remove(self)


def serve_options(servables: Sequence[Mapping[str, Any]]) -> list[str]:
    """The options of serve.py for these ServableStartConfigs."""
    return [word for servable in servables for word in ("--servable", json.dumps(servable))]


def connects(address: str) -> bool:
    """Whether a server listens there."""
    if address.startswith("unix:"):
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(address.removeprefix("unix:")) == 0
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def arguments(pid: int) -> list[str]:
    """The command line of a worker."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")


def places(server: ServerProcess, servable: str) -> list[str]:
    """The workers of a servable, as the list of processes shows them."""
    return sorted(words[-2] for words in map(arguments, server.workers()) if words[-4] == servable)


def workers_of(server: ServerProcess, servable: str) -> list[int]:
    """The process ids of a servable's workers."""
    return [pid for pid in server.workers() if arguments(pid)[-4] == servable]


@contextmanager
def running(server: ServerProcess, seconds: float = 30) -> Iterator[ServerProcess]:
    """Waits until it is ready; at the end it has to run still, and is stopped by SIGTERM. Nothing is left of it."""
    try:
        server.ready(seconds)
        yield server
        if not server.running():
            raise ProgramError(f"the server ended by itself:\n{server.log()}")
        server.stop(seconds=max(15.0, seconds))
    finally:
        server.kill()


@contextmanager
def keeping_its_workers(server: ServerProcess) -> Iterator[ServerProcess]:
    """At the end the server runs still, with the workers of the beginning."""
    workers = server.workers()
    yield server
    assert server.running(), "the server has ended meanwhile"
    assert server.workers() == workers, "a worker has ended meanwhile"


Start = Callable[..., ServerProcess]


def starter(work: Path, servables: Path) -> Iterator[Start]:
    """start(name, …, options=(), env=None, seconds=30, **ServableStartConfig's keywords): a server with these
    servables, ready."""
    mine: list[ServerProcess] = []

    def start(
        *names: str,
        directory: Path = servables,
        options: tuple[str, ...] = (),
        env: dict[str, str] | None = None,
        seconds: float = 30,
        **keywords: Any,
    ) -> ServerProcess:
        configs = [{"servable_directory": str(directory), "servable_name": name, **keywords} for name in names]
        server = ServerProcess.serving(work / str(len(mine)), configs, *options, env=env, seconds=seconds)
        mine.append(server)
        return server

    yield start
    for server in mine:
        server.kill()
