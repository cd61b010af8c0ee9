"""Workers that die while many clients ask: nobody notices, or an error says why."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from support.foreign_client import ForeignClient, whole_error
from support.processes import alive, wait_until
from support.servers import Start


def pids_of(answers: list[dict[str, Any]]) -> set[int]:
    return {int(answer["pid"]) for answer in answers}


def held_by(directory: Path) -> set[int]:
    """Worker processes that run or ran `hold` with this directory."""
    return {int(path.name.split("-")[1]) for path in directory.glob("held-*")}


def test_a_killed_worker_is_restarted_and_nobody_notices(start: Start, stubs: Any) -> None:
    server = start("plain", device_ids=(0, 1))
    wrong: list[Any] = []
    answered: list[float] = []
    stop = threading.Event()

    def ask() -> None:
        try:
            with ForeignClient(stubs, server.grpc) as client:
                while not stop.is_set():
                    answer = client.call("plain", "work", {"seconds": np.float32(0.001)})
                    answered.append(time.monotonic())
                    if "pid" not in answer[0]:
                        wrong.append(answer)
        except (AssertionError, grpc.RpcError) as error:
            wrong.append(error)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    try:
        before = server.workers()
        wait_until(lambda: len(answered) > 50, 10, "answers before the kill")
        victim = before[0]
        killed = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        new = wait_until(lambda: set(server.workers()) - set(before), 3, "a new worker")
        assert time.monotonic() - killed < 3
        with ForeignClient(stubs, server.grpc) as client:

            def new_one_answers() -> bool:
                answers = client.call("plain", "work", *[{"seconds": np.float32(0.01)}] * 10)
                return bool(pids_of(answers) & new)

            wait_until(new_one_answers, 3, "an answer of the new worker")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not wrong, wrong[:3]
    gaps = np.diff(sorted(answered))
    assert gaps.max() < 1, "the other worker should have gone on"


def test_what_a_killed_worker_held_is_run_elsewhere(start: Start, stubs: Any, tmp_path: Path) -> None:
    server = start("plain", device_ids=(0, 1))
    with ForeignClient(stubs, server.grpc) as client:
        request = client.request("plain", "hold", [{"directory": str(tmp_path)}])
        calls = [client.stub.Predict.future(request, timeout=30) for _ in range(2)]
        first, second = wait_until(lambda: len(held_by(tmp_path)) == 2 and held_by(tmp_path), 10, "two busy workers")
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: not alive(first), 2, "the end of the worker")
        (tmp_path / "release").touch()
        pids = [int(client.outputs(call.result(), 1)[0]["pid"]) for call in calls]
        assert second in pids
        assert first not in pids


def test_the_only_worker_is_killed(start: Start, stubs: Any, tmp_path: Path) -> None:
    """What it held is run by its successor, or fails with a text that says why; then all is well again."""
    server = start("plain", device_ids=0)
    with ForeignClient(stubs, server.grpc) as client:
        client.call("plain", "work", {"seconds": np.float32(0)})
        call = client.stub.Predict.future(client.request("plain", "hold", [{"directory": str(tmp_path)}]), timeout=30)
        (victim,) = wait_until(lambda: held_by(tmp_path), 10, "a busy worker")
        os.kill(victim, signal.SIGKILL)
        killed = time.monotonic()
        (tmp_path / "release").touch()
        reply = call.result()
        if reply.error_msg:
            text = whole_error(reply)
            assert "worker" in text.lower()
        else:
            assert int(client.outputs(reply, 1)[0]["pid"]) != victim

        def serves_again() -> bool:
            return bool(client.reply("plain", "work", [{"seconds": np.float32(0)}]).instances)

        wait_until(serves_again, 3, "the restarted worker's answers")
        assert time.monotonic() - killed < 3.5


def test_a_deadly_instance_fails_and_the_workers_come_back(start: Start, stubs: Any) -> None:
    """It takes the worker that runs it again with it, and no third one."""
    server = start("plain", device_ids=(0, 1, 2))
    before = set(server.workers())
    with ForeignClient(stubs, server.grpc) as client:
        client.call("plain", "work", *[{"seconds": np.float32(0.02)}] * 12)
        text = whole_error(client.reply("plain", "deadly", [{"x": np.float32(-1)}]))
        assert "worker" in text.lower()
        assert len(before & set(server.workers())) == 1
        assert client.call("plain", "deadly", {"x": np.float32(1)})
        wait_until(lambda: len(server.workers()) == 3, 5, "three workers again")


def test_a_worker_ended_by_sigterm_is_not_restarted(start: Start, stubs: Any) -> None:
    server = start("plain", device_ids=(0, 1))
    with ForeignClient(stubs, server.grpc) as client:
        client.call("plain", "work", *[{"seconds": np.float32(0.01)}] * 8)
        first, second = server.workers()
        os.kill(first, signal.SIGTERM)
        wait_until(lambda: not alive(first), 5, "the end of the worker")
        until = time.monotonic() + 1.5  # a crashed one would be restarted after 1 s
        while time.monotonic() < until:
            assert client.call("plain", "work", {"seconds": np.float32(0)})[0]["pid"] == second
        assert server.workers() == [second]

        os.kill(second, signal.SIGINT)

        def unavailable() -> bool:
            try:
                client.reply("plain", "work", [{"seconds": np.float32(0)}], timeout=1)
            except grpc.RpcError as error:
                return bool(error.code() == grpc.StatusCode.UNAVAILABLE)
            return False

        wait_until(unavailable, 4, "closed ports, with no worker left for good")
        wait_until(lambda: not server.running(), 10, "the end of the server, whose script has ended")
