"""Which version of a servable is served, and what the errors say."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import requests
from onnx import TensorProto, helper, numpy_helper
from servoir.client import Client
from support.processes import alive, wait_until
from support.scripts import PLAIN, RunScript, write_servables
from support.servers import ServerProcess

MODEL = """
from servoir.server import register

model = register.declare_model(model_file="times.onnx", model_format="ONNX")

@register.register_method(output_names=["y"])
def times(x):
    return register.add_stage(model, x, outputs_count=1)
"""


def write_model(path: Path, factor: int) -> None:
    """y = factor * x, rows of two."""
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "factor"], ["y"])],
        "times",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2])],
        [numpy_helper.from_array(np.array([factor], np.float32), "factor")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))


@pytest.fixture(scope="module")
def server(run: RunScript, tmp_path_factory: pytest.TempPathFactory) -> ServerProcess:
    """Versions 1, 2 and 10 on disk; 1 and the newest are served, both with device 0."""
    work = tmp_path_factory.mktemp("served")
    servable = work / "models" / "times"
    for version in (1, 2, 10):
        write_model(servable / str(version) / "times.onnx", version)
    for other in ("0", "x9", "011", "-3", "1.5"):
        write_model(servable / other / "times.onnx", 77)
    (servable / "12").touch()
    script = run(
        """
        server.start_servables([
            config("times", device_ids=0, version_number=1),
            config("times", device_ids=0),
            config("given", version_number=5),
            config("none"),
        ])
        server.start_grpc_server(GRPC)
        server.start_restful_server(REST)
        """,
        servables={"times": MODEL, "given": PLAIN, "none": PLAIN},
        directory=work,
    )
    script.ready()
    # New on disk, after the start.
    write_model(servable / "13" / "times.onnx", 13)
    return script


def factor(server: ServerProcess, version: int) -> Any:
    """What the version multiplies by, or the text of the error."""
    client = Client(server.grpc, "times", "times", version_number=version)
    answer = client.infer({"x": np.array([1, 3], np.float32)})
    if isinstance(answer, dict):
        return answer["error"]
    y = answer[0]["y"]
    assert y[1] == 3 * y[0]
    return y[0]


def test_version_0_of_a_config_is_the_newest_directory(server: ServerProcess) -> None:
    """By number, not as text: 10 is newer than 2; what is not a positive decimal number is none."""
    assert factor(server, 10) == 10
    logs = {path.name for path in (server.work / "serving_logs").iterdir()}
    assert {name for name in logs if "times" in name} == {
        "log_times_device0_version1.log",
        "log_times_device0_version10.log",
    }


def test_a_directory_with_leading_zeros_is_ignored_with_a_warning(server: ServerProcess) -> None:
    warnings = [line for line in server.lines if "[WARNING]" in line]
    assert any("'011'" in line and "leading zeros" in line for line in warnings), warnings
    assert not any("'x9'" in line or "'0'" in line for line in warnings)


def test_several_versions_run_side_by_side(server: ServerProcess) -> None:
    assert [factor(server, version) for version in (1, 10, 1)] == [1, 10, 1]


def test_version_0_of_a_request_is_the_newest_running(server: ServerProcess) -> None:
    assert factor(server, 0) == 10


@pytest.mark.parametrize("path", ["/model/times/version/1:times", "/version/1/model/times:times"])
def test_a_version_over_rest(server: ServerProcess, path: str) -> None:
    body = {"instances": [{"x": [1.0, 2.0]}]}
    assert requests.post(f"http://{server.rest}{path}", json=body, timeout=30).json() == {
        "instances": [{"y": [1.0, 2.0]}]
    }
    newest = requests.post(f"http://{server.rest}{path.replace('/1', '/0')}", json=body, timeout=30)
    assert newest.json() == {"instances": [{"y": [10.0, 20.0]}]}


@pytest.mark.parametrize(
    ("version", "why"), [(2, "on disk, not started"), (13, "came after the start"), (11, "leading zeros")]
)
def test_a_version_that_is_not_running_is_an_error_that_says_which_are(
    server: ServerProcess, version: int, why: str
) -> None:
    text = factor(server, version)
    assert f"'times', version {version} is not available" in text, why
    assert "running versions: 1, 10" in text


@pytest.mark.parametrize(("name", "version"), [("given", 5), ("none", 1)])
def test_a_servable_without_models_has_the_given_version_or_1(server: ServerProcess, name: str, version: int) -> None:
    for asked in (0, version):
        (answer,) = Client(server.grpc, name, "add", version_number=asked).infer([{"x": np.int64(4)}])
        assert answer["y"] == 5
    wrong = Client(server.grpc, name, "add", version_number=version + 1).infer([{"x": np.int64(4)}])
    assert isinstance(wrong, dict)
    assert f"running versions: {version}" in wrong["error"]


def worker_of(server: ServerProcess, version: int) -> int:
    (pid,) = (
        pid
        for pid in server.workers()
        if {b"times", b"version%d" % version} <= set(Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"))
    )
    return pid


def test_a_restarted_worker_has_the_version_of_the_start(server: ServerProcess) -> None:
    """Also when there is a newer one on disk by now."""
    victim = worker_of(server, 10)
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: not alive(victim), 5, "the end of the worker")
    wait_until(lambda: factor(server, 0) == 10, 5, "the answer of its successor")
    assert worker_of(server, 10) != victim


def test_no_fall_back_to_an_older_version(server: ServerProcess) -> None:
    """The last test of this server: it ends the newest version's worker for good."""
    os.kill(worker_of(server, 10), signal.SIGTERM)
    text = wait_until(lambda: isinstance(factor(server, 0), str) and factor(server, 0), 5, "an error for version 0")
    assert "'times', version 10 is not available" in text
    assert "ended" in text
    assert factor(server, 10) == text
    assert factor(server, 1) == 1


@pytest.fixture(scope="module")
def refusals(run: RunScript, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The texts of start_servables' errors, by name and version_number."""
    work = tmp_path_factory.mktemp("refused")
    names = ("empty", "odd", "some", "fileless")
    write_servables(work / "models", dict.fromkeys(names, MODEL))
    for version in (3, 4):
        write_model(work / "models" / "some" / str(version) / "times.onnx", 1)
    write_model(work / "models" / "odd" / "007" / "times.onnx", 1)
    write_model(work / "models" / "odd" / "x9" / "times.onnx", 1)
    (work / "models" / "fileless" / "1").mkdir()
    script = run(
        """
        for name, version in [("empty", 0), ("empty", 5), ("odd", 0), ("odd", 7), ("some", 5), ("fileless", 0)]:
            say("case", name, version)
            refused(server.start_servables, config(name, device_ids=0, version_number=version))
        """,
        servables={},
        directory=work,
    )
    status, lines = script.end(40)
    assert status == 0, lines
    texts = script.said("refused:")
    assert len(texts) == 6, lines
    return dict(zip(script.said("case"), texts, strict=True))


@pytest.mark.parametrize("case", ["empty 0", "empty 5", "odd 0", "odd 7"])
def test_models_without_any_version_directory(refusals: dict[str, str], case: str) -> None:
    """Whatever version_number says; the text shows what a directory would be called."""
    assert "no valid version directory" in refusals[case]
    assert f"models/{case.partition(' ')[0]}/1'" in refusals[case]


def test_models_without_the_wanted_version_directory(refusals: dict[str, str]) -> None:
    assert "no version directory 5 in" in refusals["some 5"]
    assert "there are 3, 4" in refusals["some 5"]


def test_a_version_directory_without_the_model_file(refusals: dict[str, str]) -> None:
    assert "'model_file'" in refusals["fileless 0"]
    assert "fileless/1/times.onnx" in refusals["fileless 0"]
