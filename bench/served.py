"""A server of the benchmark as a process of its own."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SERVE = Path(__file__).resolve().parent / "serve.py"
LISTENING = "start success, listening on"


def free_port() -> int:
    """A port that nobody listens on, below those that the kernel gives to outgoing connections."""
    for port in random.sample(range(12000, 32000), 200):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise RuntimeError("no free port found on 127.0.0.1")


@dataclass
class Served:
    pid: int
    grpc: str
    rest: str
    ready_seconds: float


@contextmanager
def serving(
    folder: Path, servables: list[str], core: int | None = None, env: dict[str, str] | None = None
) -> Iterator[Served]:
    """serve.py with these servables; `core`: the server and its workers may use only this one."""
    grpc, rest = (f"127.0.0.1:{free_port()}" for _ in range(2))
    command = [sys.executable, str(SERVE), str(folder), *servables, "--grpc", grpc, "--rest", rest]
    if core is not None:
        command = ["taskset", "-c", str(core), *command]
    with tempfile.TemporaryDirectory(prefix="bench-") as work:
        begun = time.monotonic()
        process = subprocess.Popen(
            command,
            cwd=work,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            assert process.stdout is not None
            output = []
            while sum(LISTENING in line for line in output) < 2:
                line = process.stdout.readline()
                if not line:
                    logs = [log.read_text(errors="replace") for log in Path(work, "serving_logs").glob("*.log")]
                    raise RuntimeError("the server did not start:\n" + "".join(output + logs))
                output.append(line)
            yield Served(process.pid, grpc, rest, time.monotonic() - begun)
            if process.poll() is not None:
                raise RuntimeError(f"the server ended with status {process.returncode} during the measurement")
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.communicate(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
