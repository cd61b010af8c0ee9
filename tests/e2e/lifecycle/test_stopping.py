"""The end of a server: stop(), the script's end, signals, SIGKILL. Nothing is left behind."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.foreign_client import ForeignClient
from support.processes import alive, processes_with, wait_until
from support.scripts import PLAIN, WAITS, RunScript, ask, assert_answers
from support.servers import ServerProcess, Start


@pytest.mark.parametrize(
    "start", ["server.start_grpc_server(GRPC)", "server.start_restful_server(REST)"], ids=["gRPC", "REST"]
)
def test_a_script_that_started_only_a_server_ends_at_its_end(run: RunScript, start: str) -> None:
    script = run(start + "\nsay('end of the script')")
    status, lines = script.end()
    assert status == 0
    assert lines[-1] == "end of the script"


def test_stop_from_a_thread_ends_a_script_that_has_come_to_its_end(run: RunScript) -> None:
    script = run("""
        server.start_servables(config())
        server.start_grpc_server(GRPC)
        server.start_restful_server(REST)

        def wait_and_stop():
            await_file("stop")
            server.stop()
            say("open:", is_open(GRPC), is_open(REST))

        threading.Thread(target=wait_and_stop).start()
    """)
    script.ready()
    assert_answers(script)
    (script.work / "stop").touch()
    status, lines = script.end()
    assert status == 0, lines
    assert script.said("open:") == ["False False"]
    assert processes_with(script.mark) == []


def test_stop_at_any_time_and_everything_again_on_the_same_ports(run: RunScript) -> None:
    """With connections that are open while it stops, and a forked child of the user that outlives the servers."""
    script = run("""
        server.stop()
        server.stop()
        kept = []
        pid = None
        for round in range(3):
            server.start_grpc_server(GRPC)
            server.start_restful_server(REST)
            server.start_servables(config())
            for address in (GRPC, REST):
                kept.append(socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2]))))
            say("round", round)
            await_file(f"stop {round}")
            if pid is None:
                pid = os.fork()
                if not pid:
                    time.sleep(600)
                    os._exit(0)
            server.stop()
            assert not is_open(GRPC)
            assert not is_open(REST)
            for connection in kept:
                connection.settimeout(10)
                while connection.recv(4096):  # the other end is closed, too
                    pass
            kept.clear()
            server.stop()
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        say("done")
    """)
    for number in range(3):
        wait_until(lambda n=number: f"round {n}" in script.lines, 20, f"round {number}")  # type: ignore[misc]
        assert_answers(script)
        (script.work / f"stop {number}").touch()
    status, lines = script.end()
    assert (status, lines[-1]) == (0, "done")


def test_stop_while_servables_are_starting(run: RunScript) -> None:
    script = run(
        """
        def wait_and_stop():
            await_file("imported")
            server.stop()

        threading.Thread(target=wait_and_stop).start()
        refused(server.start_servables, config(num_parallel_workers=2))
        """,
        servables={"s": WAITS + PLAIN},
    )
    status, lines = script.end()
    assert status == 0, lines
    assert script.said("refused:") == ["the server was stopped while servables were starting"]
    assert processes_with(script.mark) == []


def test_the_script_ends_while_servables_are_starting_in_a_thread(run: RunScript) -> None:
    """Of the user's: the script's end is no end of the start."""
    script = run(
        """
        threading.Thread(target=server.start_servables, args=(config(),)).start()
        server.start_grpc_server(GRPC)
        server.start_restful_server(REST)
        """,
        servables={"s": WAITS + PLAIN},
    )
    script.ready()
    wait_until((script.work / "imported").exists, 20, "a worker that imports servable_config.py")
    (script.work / "go on").touch()
    wait_until(lambda: isinstance(ask(script), list), 20, "an answer")
    assert script.running()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("when", ["serving", "starting", "starting up the interpreter"])
def test_a_signal_to_the_whole_group_as_a_terminal_sends_it(run: RunScript, number: int, when: str) -> None:
    """Workers get it as well as the server: no traceback of theirs, no worker left, and nobody waits for long."""
    config = PLAIN if when == "serving" else WAITS + PLAIN
    # The first that imports its configuration says so: a second one might still be starting its interpreter.
    devices = "0" if when == "starting" else "(0, 1)"
    script = run(f"server.start_servables(config(device_ids={devices}))\nsay('ready')", servables={"s": config})
    if when == "serving":
        wait_until(lambda: "ready" in script.lines, 20, "a ready server")
    elif when == "starting":
        wait_until((script.work / "imported").exists, 20, "a worker that imports servable_config.py")
    else:
        wait_until(script.workers, 20, "a worker")
    sent = time.monotonic()
    os.killpg(script.pid, number)
    status, lines = script.end(8)
    assert time.monotonic() - sent < 5
    if when == "serving":
        assert status == 0, lines
        assert not any("Traceback" in line for line in lines), lines
    else:
        assert status == (-signal.SIGINT if number == signal.SIGINT else 0), lines
        assert not any("cannot be started" in line for line in lines), lines
    assert processes_with(script.mark) == []
    for file in (script.work / "serving_logs").iterdir():
        if when != "starting up the interpreter":
            assert "Traceback" not in file.read_text()


def test_children_of_fork_serve_nothing_and_stop_nothing(run: RunScript) -> None:
    """A client in a child made by multiprocessing; a child that calls stop(); one that ends as any Python program."""
    script = run("""
        import multiprocessing
        server.start_grpc_server(GRPC)
        server.start_restful_server(REST)
        server.start_servables(config())

        def client():
            from servoir.client import Client
            say("child:", Client(GRPC, "s", "add").infer({"x": 4})[0]["y"])
            server.stop()

        process = multiprocessing.get_context("fork").Process(target=client)
        process.start()
        process.join(20)
        say("exit code:", process.exitcode)

        process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
        process.start()
        process.terminate()
        process.join(20)
        say("exit code:", process.exitcode)

        pid = os.fork()
        if not pid:
            sys.exit(7)
        say("exit code:", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

        pid = os.fork()
        if not pid:
            refused(server.start_servables, config(device_type="GPU"))
            sys.exit(8)
        say("exit code:", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        say("after the children")
    """)
    wait_until(lambda: "after the children" in script.lines or not script.running(), 40, "the end of the children")
    assert script.said("child:") == ["5"], script.log()
    assert script.said("exit code:") == ["0", "-15", "7", "8"]
    assert_answers(script)
    assert len(script.workers()) == 1
    assert script.stop() == 0


# ---- with workers that are busy


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
    grace = {"SERVOIR_STOP_GRACE": "1"}  # of the requests, which have no end
    server = start("plain", "exact", device_ids=(0, 1), num_parallel_workers=3, env=grace)
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
