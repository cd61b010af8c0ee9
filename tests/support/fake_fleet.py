"""Workers and core of a fleet, both played by the test in its own thread: no process is started."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, cast

from servoir.control.messages import Exit, Hello, Load, Message, Ready
from servoir.control.socket import ControlSocket
from servoir.figures import Figure, Figures, Sample
from servoir.server.fleet.context import FleetContext, ServerEnd
from servoir.server.fleet.loop import Loop
from servoir.server.fleet.worker_process import ProcessExit
from servoir.server.fleet.worker_role import WorkerRole
from servoir.server.plan import ServablePlan

VERSION = "1.2.3"
CHANNEL_VERSION = 7
SPEC: Any = {"name": "s", "version": 1, "callees": [{"kind": "function", "name": "f"}], "methods": []}


def plan(**fields: Any) -> ServablePlan:
    """Of the servable s, version 1, with one worker."""
    values: dict[str, Any] = {
        "directory": "/models",
        "name": "s",
        "version": 1,
        "device_ids": (),
        "device_type": None,
        "parallel_workers": 1,
        "dec_key": None,
        "dec_mode": "AES-GCM",
    }
    return ServablePlan(**(values | fields))


class FakeProcess:
    """A WorkerProcess whose other end is the test."""

    def __init__(self, role: WorkerRole, pid: int, *, has_pidfd: bool = True) -> None:
        ours, theirs = socket.socketpair()
        self.role = role
        self.pid = pid
        self.control = ControlSocket(ours)
        self.worker = ControlSocket(theirs)
        self.worker.set_timeout(5.0)
        self.pidfd = os.eventfd(0, os.EFD_NONBLOCK) if has_pidfd else None
        self.lanes: list[Any] = [f"functions of {pid}", f"models of {pid}"][: 2 if role.loads_models else 1]
        self.signals: list[int] = []
        self.dies_when_killed = True
        self.is_closed = False
        self._code: int | None = None
        self._ending = threading.RLock()  # the supervisor's thread may see the end before end() has returned

    # ---- what the fleet calls

    def has_ended(self) -> bool:
        return self._code is not None

    def send(self, message: Message) -> None:
        self.control.send(message)

    def signal(self, number: int) -> None:
        self.signals.append(number)
        if number == signal.SIGKILL and self.dies_when_killed:
            self.end(-number)

    def exit(self, **known: Any) -> ProcessExit:
        return ProcessExit(self._code, log_path="/nowhere/the.log", **known)

    def close(self) -> None:
        with self._ending:
            self.is_closed = True
            self.control.close()
            self.worker.close()
            if self.pidfd is not None:
                os.close(self.pidfd)

    # ---- what the test does in the worker's place

    def say(self, message: Message) -> None:
        self.worker.send(message)

    def hello(self) -> None:
        self.say(Hello(VERSION, CHANNEL_VERSION, self.pid))

    def ready(self, spec: Any = SPEC, functions: tuple[int, ...] = (0,), models: tuple[int, ...] = ()) -> None:
        whole = spec if self.role.loads_models else None
        self.say(Ready(whole, functions, models, threads=2, backends=("fake 1",)))

    def told(self) -> Message:
        """The next message from the server."""
        message = self.worker.receive()
        assert message is not None
        return message

    def end(self, code: int) -> None:
        with self._ending:
            if self._code is not None:
                return
            self._code = code
            self.worker.close()
            if self.pidfd is not None:
                os.eventfd_write(self.pidfd, 1)


class FakeCore:
    """Writes down what it is told, each as (name, arguments …)."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.busy: set[int] = set()  # attachments that hold something
        self.deadly_batch = False  # whether workers die of batches that have ended workers before
        self.answered = 0  # instances, without an error
        self.is_stopped = False
        self.lane_failed: Callable[[int, str, bool], None] | None = None
        self._number = 0

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _record(self, *call: Any) -> None:
        if self.is_stopped:
            raise RuntimeError("the server is stopped")
        self.calls.append(call)

    def of(self, name: str) -> list[tuple[Any, ...]]:
        return [call[1:] for call in self.calls if call[0] == name]

    def publish(self, spec: Any) -> int:
        self._record("publish", spec)
        return self._next()

    def withdraw(self, servable: int, reason: str) -> None:
        self._record("withdraw", servable, reason)

    def attach_lane(self, servable: int, lane: Any, callees: Any, name: str) -> int:
        number = self._next()
        self._record("attach", number, servable, lane, list(callees), name)
        return number

    def detach_lane(self, attachment: int, reason: str, by_itself: bool = False) -> bool:
        self._record("detach", attachment, reason)
        return self.deadly_batch

    def drain_lane(self, attachment: int) -> bool:
        self._record("drain", attachment)
        return attachment not in self.busy

    def on_lane_failure(self, callback: Callable[[int, str, bool], None]) -> None:
        self.lane_failed = callback

    def stats(self) -> Figures:
        run = {("1", "f"): self.answered, ("1", "g"): 5, ("2", "f"): 99}
        failed = {("1", "f"): 0, ("1", "g"): 5, ("2", "f"): 0}
        return {
            "servoir_callee_instances": counter(run),
            "servoir_callee_failed_instances": counter(failed),
        }


def counter(values: dict[tuple[str, str], int]) -> Figure:
    """Of callees of the servable s, by version and name."""
    samples: list[Sample] = [
        {"labels": {"servable": "s", "version": version, "callee": callee}, "value": float(value), "buckets": []}
        for (version, callee), value in values.items()
    ]
    return {"kind": "counter", "help": "Instances.", "unit": "", "bounds": [], "samples": samples}


class FakeFleet:
    """Loop, core and processes. `refusal`: why no process can be started."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.core: Any = FakeCore()
        self.processes: list[FakeProcess] = []
        self.changes = 0
        self.refusal: str | RuntimeError | None = None
        self.has_pidfd = True
        self.context = FleetContext(
            cast(Any, self.core), self.loop, 4.0, self.start_process, self._changed, ServerEnd(seen_within=0)
        )

    def _changed(self) -> None:
        self.changes += 1

    def start_process(self, role: WorkerRole, server: Any, *, is_first: bool) -> Any:
        assert server is self.core
        assert is_first == all(process.role is not role for process in self.processes)
        if self.refusal is not None:
            raise self.refusal if isinstance(self.refusal, RuntimeError) else RuntimeError(self.refusal)
        process = FakeProcess(role, 1000 + len(self.processes), has_pidfd=self.has_pidfd)
        self.processes.append(process)
        return process

    def settle(self) -> None:
        """Until nothing that has happened is left to be seen; timers that are not due stay."""
        quiet = 0
        while quiet < 2:
            before = (len(self.core.calls), self.changes, len(self.processes))
            self.loop.turn(0)
            quiet = quiet + 1 if before == (len(self.core.calls), self.changes, len(self.processes)) else 0

    def until(self, condition: Callable[[], Any], seconds: float = 10) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.core.calls
            self.loop.turn(0.1)

    def close(self) -> None:
        self.loop.close()
        for process in self.processes:
            if not process.is_closed:
                process.close()


def told_exit(process: FakeProcess) -> bool:
    """Whether the next message to the worker is that it should exit; skips what it is to load."""
    message = process.told()
    while isinstance(message, Load):
        message = process.told()
    return isinstance(message, Exit)
