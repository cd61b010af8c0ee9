"""A worker that ends, is killed, or cannot be reached: what it held, who takes its place, and when the server ends."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import requests
from servoir.client import Client
from support.processes import alive, wait_until
from support.scripts import RunScript
from support.servers import ServerProcess, arguments, workers_of

# `hold` and `work` say which worker ran them; `cut` cuts the worker's connection to the server.
MORTAL = """
import os, socket, stat, time
from servoir.server import register

def name(x):
    return os.getpid()

def wait_for_release(directory):
    open(os.path.join(directory, f"held-{os.getpid()}"), "w").close()
    while not os.path.exists(os.path.join(directory, "release")):
        time.sleep(0.005)
    return os.getpid()

def cut_connection(x):
    for number in os.listdir("/proc/self/fd"):
        try:
            if stat.S_ISSOCK(os.fstat(int(number)).st_mode):
                with socket.socket(fileno=os.dup(int(number))) as connection:
                    connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
    return os.getpid()

@register.register_method(output_names=["pid"])
def work(x):
    return register.add_stage(name, x, outputs_count=1)

@register.register_method(output_names=["pid"])
def hold(directory):
    return register.add_stage(wait_for_release, directory, outputs_count=1)

@register.register_method(output_names=["pid"])
def cut(x):
    return register.add_stage(cut_connection, x, outputs_count=1)
"""


SERVE = """
    server.start_servables(tuple(config(name, **keywords) for name, keywords in SERVABLES))
    server.start_grpc_server(GRPC)
    server.start_restful_server(REST)
"""


def serve(run: RunScript, *servables: tuple[str, dict[str, Any]]) -> ServerProcess:
    code = SERVE.replace("SERVABLES", repr(list(servables)))
    script = run(code, servables={name: MORTAL for name, _ in servables})
    script.ready()
    return script


def pid_of(answer: Any) -> int:
    """0 for an error."""
    return int(answer[0]["pid"]) if isinstance(answer, list) and "pid" in answer[0] else 0


def ask(server: ServerProcess, servable: str = "s") -> Any:
    return Client(server.grpc, servable, "work").infer([{"x": 1}])


def end(pid: int, number: int) -> float:
    """The time of it; returns when the process has ended."""
    os.kill(pid, number)
    sent = time.monotonic()
    wait_until(lambda: not alive(pid), 5, "the end of the worker")
    return sent


def test_a_worker_that_gets_sigterm_finishes_first(run: RunScript, tmp_path: Path) -> None:
    """What it runs is answered by it; then it ends, and no other takes its place."""
    server = serve(run, ("s", {"device_ids": (0, 1)}))
    call = Client(server.grpc, "s", "hold").infer_async([{"directory": str(tmp_path)}])
    (held,) = wait_until(lambda: list(tmp_path.glob("held-*")), 10, "a busy worker")
    busy = int(held.name.removeprefix("held-"))
    (other,) = set(server.workers()) - {busy}
    os.kill(busy, signal.SIGTERM)
    for _ in range(20):  # it takes nothing new
        assert pid_of(ask(server)) == other
    assert alive(busy)
    (tmp_path / "release").touch()
    assert pid_of(call.result()) == busy
    wait_until(lambda: not alive(busy), 5, "the end of the worker")
    assert server.workers() == [other]
    wait_until(lambda: any("not started again" in line for line in server.lines), 5, "the server's word on it")

    # The last one: the ports close within 2 s, and the process ends, because the script has ended.
    sent = end(other, signal.SIGINT)

    def unavailable() -> bool:
        return "unavailable" in str(ask(server)) and "Grpc Error, (14" in str(ask(server))

    wait_until(unavailable, 2 - (time.monotonic() - sent), "gRPC's UNAVAILABLE")
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://{server.rest}/", timeout=5)
    assert server.process.wait(10) == 0


def test_a_worker_killed_before_it_answered_anything_is_restarted_too(run: RunScript) -> None:
    """Differs from the predecessor. It serves again within 3 s of the kill."""
    server = serve(run, ("s", {"device_ids": 0}))
    (victim,) = server.workers()
    sent = end(victim, signal.SIGKILL)
    pid = wait_until(lambda: pid_of(ask(server)), 3 - (time.monotonic() - sent), "the next worker's answer")
    assert pid != victim
    assert server.workers() == [pid]
    # And again, after an answer.
    sent = end(pid, signal.SIGKILL)
    wait_until(lambda: pid_of(ask(server)) not in (0, pid), 3 - (time.monotonic() - sent), "the next worker's answer")


def test_a_worker_that_cannot_be_reached_is_replaced(run: RunScript) -> None:
    server = serve(run, ("s", {"device_ids": 0}))
    (victim,) = server.workers()
    Client(server.grpc, "s", "cut").infer([{"x": 1}])
    wait_until(lambda: not alive(victim), 15, "the end of the worker")
    wait_until(lambda: pid_of(ask(server)) not in (0, victim), 15, "the answer of another worker")


def test_other_servables_go_on_when_the_workers_of_one_are_gone(run: RunScript) -> None:
    """The answer says why; when the last one's are gone, too, the servers stop."""
    server = serve(run, ("first", {"device_ids": 0, "num_parallel_workers": 2}), ("second", {}))
    device, extra = (
        next(p for p in workers_of(server, "first") if arguments(p)[-2] == w) for w in ("device0", "extra0")
    )
    end(device, signal.SIGTERM)
    text = wait_until(lambda: isinstance(ask(server, "first"), dict) and ask(server, "first")["error"], 5, "an error")
    assert "servable 'first', version 1 is not available" in text
    assert "its workers were ended" in text
    answer = requests.post(f"http://{server.rest}/model/first:work", json={"instances": [{"x": 1}]}, timeout=10)
    assert (answer.status_code, answer.json()) == (503, {"error_msg": text})
    assert pid_of(ask(server, "second"))
    assert server.running()
    (last,) = workers_of(server, "second")
    end(last, signal.SIGTERM)
    assert server.process.wait(10) == 0
    assert not alive(extra), "an extra worker without the device's worker"
