"""Programs in Python as processes of their own, seen from outside: output, children, memory, end."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

MARK = "SERVOIR_TEST_MARK"


class ProgramError(AssertionError):
    """A program did not do what it should."""


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
        time.sleep(0.005)


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


def children_of(pid: int) -> list[int]:
    """The direct children, alive."""
    return sorted(int(child) for child in os.listdir("/proc") if child.isdigit() and parent_of(int(child)) == pid)


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
    """Memory of the memory files (memfd) that a process has open, mostly the arena's, whichever process touched it."""
    files = {}
    for number in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            path = f"/proc/{pid}/fd/{number}"
            if os.readlink(path).startswith("/memfd:"):
                status = os.stat(path)
                files[status.st_ino] = status.st_blocks * 512
    return sum(files.values()) >> 20


class Program:
    """A program in Python, started by the constructor in a session of its own, with `work` as its current directory.

    `lines` grows by what it writes, stdout and stderr in one; with `separate_errors`, stderr goes to `error_lines`. The
    threads that read end with the program. `prefix` comes before the interpreter: `taskset -c 1`, say.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        work: Path,
        env: Mapping[str, str] | None = None,
        *,
        separate_errors: bool = False,
        prefix: Sequence[str] = (),
    ) -> None:
        work.mkdir(parents=True, exist_ok=True)
        self.work = work
        self.mark = uuid.uuid4().hex
        self.command = [*prefix, sys.executable, *arguments]
        self.lines: list[str] = []
        self.error_lines: list[str] = []
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            self.command,
            cwd=work,
            env={**(os.environ if env is None else env), MARK: self.mark},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if separate_errors else subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        streams = [(self.process.stdout, self.lines), (self.process.stderr, self.error_lines)]
        self._readers = [
            threading.Thread(target=self._read, args=stream, daemon=True) for stream in streams if stream[0] is not None
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: Any, lines: list[str]) -> None:
        for line in stream:
            lines.append(line.rstrip("\n"))
            self.on_line(line)

    def on_line(self, line: str) -> None:
        """Called by the thread that reads, for each line."""

    @property
    def pid(self) -> int:
        return self.process.pid

    def running(self) -> bool:
        return self.process.poll() is None

    def workers(self) -> list[int]:
        """The direct children, alive."""
        return children_of(self.pid)

    def tree(self) -> list[int]:
        return [self.pid, *self.workers()]

    def resident_kib(self) -> int:
        """Resident memory of the program and its children; pages that several of them map count once."""
        total = 0
        for pid in self.tree():
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
        return total

    def await_end(self, seconds: float, what: str = "the program") -> int:
        """Waits for its own end and for the last of its output; its exit status."""
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise ProgramError(f"{what} did not end within {seconds:g} s:\n{self.log()}") from None
        for reader in self._readers:
            reader.join(5)
        return status

    def stop(self, number: int = signal.SIGTERM, seconds: float = 15) -> int:
        """Ends it by a signal and returns its exit status."""
        self.process.send_signal(number)
        return self.await_end(seconds, f"{self.command[-1]}, sent signal {number},")

    def kill(self) -> None:
        """For cleaning up: ends whatever is left of it, children included."""
        if self.running():
            self.process.kill()
        self.process.wait()
        for pid in processes_with(self.mark):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for reader, stream in zip(self._readers, (self.process.stdout, self.process.stderr), strict=False):
            reader.join(5)
            if stream is not None and not reader.is_alive():
                stream.close()

    def log(self) -> str:
        """Its output, and the logs of its workers."""
        state = "running" if self.running() else f"ended with {self.process.returncode}"
        parts = [f"---- process {self.pid}, {state}", *self.lines[-200:], *self.error_lines[-200:]]
        for file in sorted((self.work / "serving_logs").glob("*.log")):
            parts += [f"---- {file.name}", *file.read_text(errors="replace").splitlines()[-100:]]
        return "\n".join(parts)
