"""Section 12: what a worker is, which workers there are, and what happens when one dies."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from exact_models import expected, write
from server_process import ServerProcess, alive, parent_of, wait_until
from server_script import PLAIN, RunScript, script_runner
from servoir.client import Client

# Says how the worker that runs it looks from inside.
WHO = """
import json, os, sys, time
from servoir.server import register
import only_on_pythonpath

AT_IMPORT = os.environ.get("SERVING_DEVICE_ID")

def describe(x):
    time.sleep(0.01)
    return json.dumps({
        "pid": os.getpid(),
        "parent": os.getppid(),
        "device": AT_IMPORT,
        "executable": sys.executable,
        "directory": os.getcwd(),
        "environment": os.environ.get("OF_THE_USER"),
        "set by the script": os.environ.get("SET_BY_THE_SCRIPT"),
        "main": sys.modules["__main__"].__spec__.name,
        "path": sys.path,
        "module": __name__,
        "from PYTHONPATH": only_on_pythonpath.value,
    })

@register.register_method(output_names=["text"])
def who(x):
    return register.add_stage(describe, x, outputs_count=1)
"""

MODEL_ONLY = """
from servoir.server import register

model = register.declare_model(model_file="exact.onnx", model_format="ONNX")

@register.register_method(output_names=["y", "total"])
def multiply(x):
    return register.add_stage(model, x, outputs_count=2)
"""

MODEL_AND_FUNCTION = """
import os
from servoir.server import register

model = register.declare_model(model_file="exact.onnx", model_format="ONNX")

def call(x):
    y, total = model.call(x)
    return y, os.getpid()

@register.register_method(output_names=["y", "pid"])
def by_call(x):
    return register.add_stage(call, x, outputs_count=2)
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunScript]:
    yield from script_runner(tmp_path_factory.mktemp("processes"))


@pytest.fixture(scope="module")
def server(run: RunScript, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Servables with workers of every kind; all of them are still there at the end."""
    work = tmp_path_factory.mktemp("who")
    (work / "modules").mkdir()
    (work / "modules" / "only_on_pythonpath.py").write_text("value = 'found'\n")
    for name in ("models_only", "models_on_cpu", "with_function"):
        write(work / "models" / name / "1" / "exact.onnx", "batch")
    path = os.pathsep.join(filter(None, [str(work / "modules"), os.environ.get("PYTHONPATH")]))
    script = run(
        """
        os.environ["SET_BY_THE_SCRIPT"] = "yes"
        before = signal.getsignal(signal.SIGCHLD)
        server.start_servables([
            config("who", device_ids=(0, 7), num_parallel_workers=4),
            config("models_only", device_ids=0, num_parallel_workers=3),
            config("models_on_cpu", num_parallel_workers=2),
            config("with_function", device_ids=0, device_type="CPU", num_parallel_workers=2),
            config("merged", device_ids=(1, 0)),
            config("merged", device_ids=(1, 2), num_parallel_workers=4),
            config("plain"),
        ])
        assert signal.getsignal(signal.SIGCHLD) is before
        server.start_grpc_server(GRPC)
        server.start_restful_server(REST)
        """,
        servables={
            "who": WHO,
            "models_only": MODEL_ONLY,
            "models_on_cpu": MODEL_ONLY,
            "with_function": MODEL_AND_FUNCTION,
            "merged": PLAIN,
            "plain": PLAIN,
        },
        env={"PYTHONPATH": path, "OF_THE_USER": "inherited"},
        directory=work,
    )
    script.ready()
    workers = script.workers()
    yield script
    assert script.workers() == workers, "a worker ended during the tests of this server"


def arguments(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")


def places(server: ServerProcess, servable: str) -> list[str]:
    """The workers of a servable, as the list of processes shows them."""
    return sorted(words[-2] for words in map(arguments, server.workers()) if words[-4] == servable)


def workers_of(server: ServerProcess, servable: str) -> list[int]:
    return [pid for pid in server.workers() if arguments(pid)[-4] == servable]


@pytest.fixture(scope="module")
def described(server: ServerProcess) -> list[dict[str, Any]]:
    """Each worker of `who` in its own words, from one request with many instances."""
    answers = Client(server.grpc, "who", "who").infer([{"x": number} for number in range(40)])
    assert isinstance(answers, list), answers
    found = {description["pid"]: description for description in (json.loads(answer["text"]) for answer in answers)}
    return list(found.values())


Described = list[dict[str, Any]]


def test_all_workers_take_part_in_one_request(server: ServerProcess, described: Described) -> None:
    assert sorted(worker["pid"] for worker in described) == workers_of(server, "who")
    assert len(described) == 4


def test_workers_are_direct_children_of_the_process_that_started_them(
    server: ServerProcess, described: Described
) -> None:
    assert {worker["parent"] for worker in described} == {server.pid}
    assert all(parent_of(worker["pid"]) == server.pid for worker in described)


def test_workers_are_of_the_same_interpreter(described: Described) -> None:
    assert {worker["executable"] for worker in described} == {sys.executable}


def test_workers_inherit_environment_and_current_directory(server: ServerProcess, described: Described) -> None:
    for worker in described:
        assert worker["environment"] == "inherited"
        assert worker["set by the script"] == "yes"
        assert worker["directory"] == str(server.work)


def test_workers_inherit_pythonpath(described: Described) -> None:
    assert {worker["from PYTHONPATH"] for worker in described} == {"found"}


def test_workers_do_not_import_the_script(described: Described) -> None:
    assert {worker["main"] for worker in described} == {"servoir.worker.__main__"}


def test_the_configuration_is_a_submodule_of_the_servable_found_by_sys_path(
    server: ServerProcess, described: Described
) -> None:
    for worker in described:
        assert worker["module"] == "who.servable_config"
        assert worker["path"][-1] == str(server.work / "models")


def test_device_workers_know_their_device_when_the_configuration_is_imported(described: Described) -> None:
    """And extra workers have none."""
    assert sorted(str(worker["device"]) for worker in described) == ["0", "7", "None", "None"]


@pytest.mark.parametrize(
    ("servable", "expected_places"),
    [
        ("who", ["device0", "device7", "extra0", "extra1"]),
        ("models_only", ["device0"]),  # num_parallel_workers=3 has no effect: all stages are models
        ("models_on_cpu", ["extra0", "extra1"]),
        ("with_function", ["device0", "extra0"]),
        ("merged", ["device0", "device1", "device2", "extra0"]),
        ("plain", ["extra0"]),
    ],
)
def test_which_workers_there_are(server: ServerProcess, servable: str, expected_places: list[str]) -> None:
    assert places(server, servable) == expected_places


@pytest.mark.parametrize("servable", ["models_only", "models_on_cpu"])
def test_models_answer_with_and_without_devices(server: ServerProcess, servable: str) -> None:
    body = {"instances": [{"x": [float(i)] * 16} for i in range(8)]}
    answer = requests.post(f"http://{server.rest}/model/{servable}:multiply", json=body, timeout=30).json()
    for i, instance in enumerate(answer["instances"]):
        y, total = expected_of(i)
        assert instance == {"y": y, "total": total}


def expected_of(value: float) -> tuple[list[float], float]:
    import numpy as np

    y, total = expected(np.full(16, value, np.float32))
    return y.tolist(), float(total)


def test_model_calls_of_extra_workers_go_to_those_with_the_model(server: ServerProcess) -> None:
    """Both workers run the function; only the device's has the model."""
    pids = set()
    deadline = time.monotonic() + 20
    while len(pids) < 2 and time.monotonic() < deadline:
        body = {"instances": [{"x": [2.0] * 16}] * 16}
        answer = requests.post(f"http://{server.rest}/model/with_function:by_call", json=body, timeout=30).json()
        for instance in answer["instances"]:
            assert instance["y"] == expected_of(2)[0]
            pids.add(instance["pid"])
    assert sorted(pids) == workers_of(server, "with_function")


# ---- death of a worker

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
