"""What a worker is, which workers there are, and which of them runs what."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from servoir.client import Client
from support.models.exact_models import expected, write
from support.processes import parent_of
from support.scripts import PLAIN, RunScript
from support.servers import ServerProcess, keeping_its_workers, places, workers_of

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
    with keeping_its_workers(script):
        yield script


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
    pids: set[int] = set()
    deadline = time.monotonic() + 20
    while len(pids) < 2 and time.monotonic() < deadline:
        body = {"instances": [{"x": [2.0] * 16}] * 16}
        answer = requests.post(f"http://{server.rest}/model/with_function:by_call", json=body, timeout=30).json()
        for instance in answer["instances"]:
            assert instance["y"] == expected_of(2)[0]
            pids.add(instance["pid"])
    assert sorted(pids) == workers_of(server, "with_function")
