"""A server script as a process of its own, seen from outside: addresses, output, workers, memory, end."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

SERVE = Path(__file__).resolve().parent / "serve.py"
LISTENING = "start success, listening on"
MARK = "SERVOIR_E2E_MARK"


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


def wait_until(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """Polls; returns the condition's first true value."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.01)


def parent_of(pid: int) -> int:
    """0 when there is no such process (any more), or when it is dead and only waits to be reaped."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    state, parent = text[text.rindex(")") + 2 :].split()[:2]
    return 0 if state in "ZX" else int(parent)


def alive(pid: int) -> bool:
    return parent_of(pid) != 0


def processes_with(mark: str) -> list[int]:
    """All processes with MARK=mark in their environment."""
    wanted, found = f"{MARK}={mark}".encode(), []
    for name in os.listdir("/proc"):
        if name.isdigit() and alive(int(name)):
            with contextlib.suppress(OSError):
                if wanted in Path(f"/proc/{name}/environ").read_bytes().split(b"\0"):
                    found.append(int(name))
    return found


def status_kib(pid: int, key: str) -> int:
    """A size from /proc/PID/status, such as VmRSS or VmHWM."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1])
    raise KeyError(key)


def shared_mib(pid: int) -> int:
    """Memory behind the memory files (memfd) that a process has open: the arena, above all, whoever touched it."""
    files = {}
    for number in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            path = f"/proc/{pid}/fd/{number}"
            if os.readlink(path).startswith("/memfd:"):
                status = os.stat(path)
                files[status.st_ino] = status.st_blocks * 512
    return sum(files.values()) >> 20


started: list[ServerProcess] = []  # and not yet killed


class ServerProcess:
    """Started by the constructor; ready() waits for both servers. `work` becomes the current directory."""

    def __init__(self, command: list[str], work: Path, env: dict[str, str] | None = None) -> None:
        work.mkdir(parents=True, exist_ok=True)
        self.work = work
        self.mark = uuid.uuid4().hex
        self.grpc = f"127.0.0.1:{free_port()}"
        self.rest = f"127.0.0.1:{free_port()}"
        self.command = [sys.executable, *command, "--grpc", self.grpc, "--rest", self.rest]
        self.lines: list[str] = []
        self._listening = threading.Semaphore(0)
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            self.command,
            cwd=work,
            env={**os.environ, **(env or {}), MARK: self.mark},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        started.append(self)

    @classmethod
    def serving(
        cls, work: Path, servables: list[dict[str, Any]], *options: str, env: dict[str, str] | None = None
    ) -> ServerProcess:
        """serve.py with these ServableStartConfigs, ready."""
        command = [str(SERVE), *options]
        for servable in servables:
            command += ["--servable", json.dumps(servable)]
        server = cls(command, work, env)
        try:
            server.ready()
        except BaseException:
            server.kill()
            raise
        return server

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if LISTENING in line:
                self._listening.release()
        self._listening.release(2)

    def ready(self, seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        for _ in range(2):
            self._listening.acquire(timeout=max(0.0, deadline - time.monotonic()))
        if sum(LISTENING in line for line in self.lines) < 2:
            raise AssertionError(f"the server was not ready within {seconds:g} s:\n{self.log()}")

    @property
    def pid(self) -> int:
        return self.process.pid

    def workers(self) -> list[int]:
        """The direct children, alive."""
        return sorted(int(p) for p in os.listdir("/proc") if p.isdigit() and parent_of(int(p)) == self.pid)

    def tree(self) -> list[int]:
        return [self.pid, *self.workers()]

    def resident_kib(self) -> int:
        """Resident memory of server and workers; pages that several of them map count once."""
        total = 0
        for pid in self.tree():
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
        return total

    def running(self) -> bool:
        return self.process.poll() is None

    def stop(self, number: int = signal.SIGTERM, seconds: float = 15) -> int:
        """Ends the server by a signal and returns its exit status."""
        self.process.send_signal(number)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the server did not end within {seconds:g} s of signal {number}") from None

    def kill(self) -> None:
        """For cleaning up: ends whatever is left of it."""
        if self.running():
            self.process.kill()
        self.process.wait()
        for pid in processes_with(self.mark):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._reader.join(5)
        if self.process.stdout is not None and not self._reader.is_alive():
            self.process.stdout.close()
        if self in started:
            started.remove(self)

    def log(self) -> str:
        """Output of the server and of its workers."""
        state = "running" if self.running() else f"ended with {self.process.returncode}"
        parts = [f"---- server, {state}", *self.lines[-200:]]
        for file in sorted((self.work / "serving_logs").glob("*.log")):
            parts += [f"---- {file.name}", *file.read_text(errors="replace").splitlines()[-100:]]
        return "\n".join(parts)
