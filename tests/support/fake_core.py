"""Stands in for servoir._core in the tests of the supervisor: the process side is real, the data path is not there.

Every call is written to the file $FAKE_CORE_LOG, a JSON list a line, with the process id first. The test tells the
server's side what to do through files in its directory: "lane_failure" (attachment and text), "busy" (lanes hold
something), "deaf" (workers go on when they are told to exit), "answered" (a number, for stats()), "asked" (a client
waits for an answer).
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

_log = Path(os.environ["FAKE_CORE_LOG"])
__version__ = os.environ.get("FAKE_CORE_WORKER_VERSION" if "SERVOIR_FAKE_SERVER" in os.environ else "", "1.2.3")
channel_version = 1


def _record(*what: Any) -> None:
    with _log.open("a") as file:
        file.write(json.dumps([os.getpid(), *what]) + "\n")


def usable_cores() -> float:
    return 4.0


def log_write_stderr(record: str) -> None:
    os.write(2, f"{record}\n".encode())


def check_address(address: str) -> str:
    """A coarse one: the grammar is tested on the real core."""
    if ":" not in address:
        raise RuntimeError(f"'{address}' has no port")
    return "unix" if address.startswith("unix:") else "tcp"


class Lane:
    def __init__(self) -> None:
        self.memory_fd = os.memfd_create("lane")
        self.event_fd = os.eventfd(0)

    def close_memory_fd(self) -> None:
        os.close(self.memory_fd)
        self.memory_fd = -1

    def __del__(self) -> None:
        if self.memory_fd != -1:
            os.close(self.memory_fd)
        os.close(self.event_fd)


class Server:
    def __init__(self, *, arena_limit: int, io_threads: int, max_connections: int, take_nonfinite: bool) -> None:
        assert arena_limit > 0
        assert max_connections > 0
        assert not take_nonfinite
        assert io_threads > 0
        os.environ["SERVOIR_FAKE_SERVER"] = str(os.getpid())  # the workers inherit it
        self.arena_fd = os.memfd_create("arena")
        self.addresses: list[str] = []
        self.numbers = iter(range(1, 10_000))
        self.stopped = False
        _record("server")

    def __del__(self) -> None:
        os.close(self.arena_fd)

    def listen(self, address: str, protocol: str, max_message_bytes: int, tls: Any = None) -> int:
        del tls
        _record("listen", address, protocol, max_message_bytes)
        if address.startswith("256."):
            raise RuntimeError(f"cannot listen on {address}")
        self.addresses.append(address)
        return len(self.addresses) - 1

    def listener_address(self, listener: int) -> str:
        return self.addresses[listener]

    def publish(self, spec: dict[str, Any]) -> int:
        number = next(self.numbers)
        _record("publish", number, spec)
        return number

    def withdraw(self, servable: int, reason: str) -> None:
        _record("withdraw", servable, reason)

    def open_lane(self) -> Lane:
        return Lane()

    def attach_lane(self, servable: int, lane: Lane, callees: Sequence[int], name: str) -> int:
        os.fstat(lane.event_fd)
        number = next(self.numbers)
        _record("attach", number, servable, list(callees), name)
        return number

    def detach_lane(self, attachment: int, reason: str, by_itself: bool = False) -> bool:
        _record("detach", attachment, reason)
        return False

    def drain_lane(self, attachment: int) -> bool:
        _record("drain", attachment)
        return not _log.with_name("busy").exists()

    def on_lane_failure(self, callback: Callable[[int, str, bool], None]) -> None:
        self.watching = True
        self.watch = threading.Thread(target=self._watch, args=(callback,), daemon=True)
        self.watch.start()

    def _watch(self, callback: Callable[[int, str, bool], None]) -> None:
        order = _log.with_name("lane_failure")
        while not self.stopped:
            if order.exists():
                attachment, text = json.loads(order.read_text())
                order.unlink()
                callback(attachment, f"it broke the channel's protocol: {text}", False)
            time.sleep(0.005)
        self.watching = False

    def set_max_enqueued_requests(self, limit: int) -> None:
        _record("max_enqueued", limit)

    def stats(self) -> dict[str, Any]:
        answered = _log.with_name("answered")
        count = int(answered.read_text()) if answered.exists() else 0
        labels = {"servable": "s", "version": "1", "callee": "f"}
        return {
            "servoir_callee_instances": {
                "kind": "counter",
                "help": "Instances that workers have run.",
                "unit": "",
                "bounds": [],
                "samples": [{"labels": labels, "value": float(count), "buckets": []}],
            }
        }

    def announce_end(self) -> None:
        _record("announce_end")

    def drain(self) -> None:
        _record("drain")

    def busy_connections(self) -> int:
        return int(_log.with_name("asked").exists())

    def open_connections(self) -> int:
        return 0

    def close_doors(self) -> None:
        _record("close_doors")

    def stop(self) -> None:
        self.stopped = True
        if hasattr(self, "watch"):
            while self.watching:  # not join(): as the real one, this takes none of Python's locks
                time.sleep(0.001)
            del self.watch
        _record("stop")


class WorkerRuntime:
    def __init__(self, arena_fd: int, control_fd: int, *, mark_rooms: bool = False) -> None:
        del mark_rooms
        os.fstat(arena_fd)
        os.fstat(control_fd)
        self.ended = threading.Event()

    def add_function(self, callee: int, function: Callable[..., Any], **keywords: Any) -> None:
        _record("add_function", callee, keywords)

    def serve_models(self, memory_fd: int, event_fd: int) -> None:
        os.fstat(memory_fd)
        _record("serve_models")

    def serve_functions(self, memory_fd: int, event_fd: int) -> None:
        os.fstat(memory_fd)
        os.fstat(event_fd)
        _record("serve_functions", os.environ.get("SERVING_DEVICE_ID"))
        while not self.ended.is_set():
            self.ended.wait()
        _record("served")

    def call_model(self, callee: int, instances: Any) -> Any:
        raise RuntimeError("no models here")

    def interrupt(self) -> None:
        pass

    def stop(self) -> None:
        _record("worker_stop")
        if not _log.with_name("deaf").exists():
            self.ended.set()

    def join(self) -> None:
        _record("join")
