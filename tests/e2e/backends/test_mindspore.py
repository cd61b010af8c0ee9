"""MindIR files, served by the backend MindSpore. Needs the package mindspore: pip install 'servoir[mindspore]'."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from servoir import encryption
from servoir.client import Client
from servoir.encryption import DecryptionKey
from support import TESTS
from support.models import exact_models
from support.scripts import RunScript, ServerScript

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("mindspore") is None,
    reason="NOTHING OF THE BACKEND MINDSPORE IS TESTED: the package mindspore (2.7 to 2.10) is not installed",
)

KEY = secrets.token_bytes(16)
CONFIG = """
from servoir.server import register
from servoir.server.register import AscendDeviceInfo, Context, CPUDeviceInfo, GPUDeviceInfo

context = Context(thread_num=1)
context.append_device_info(CPUDeviceInfo(precision_mode="origin"))
context.append_device_info(GPUDeviceInfo(precision_mode="fp16"))
context.append_device_info(AscendDeviceInfo(precision_mode="force_fp16"))

fixed = register.declare_model("fixed.mindir", "MindIR", context=context)
dynamic = register.declare_model("dynamic.mindir", max_batch_size=8)  # the format is told by the content
pair = register.declare_model(["first.mindir", "second.mindir"], "mindir")
count = register.declare_model("count.mindir", "MindIR", with_batch_dim=False)

@register.register_method(output_names=["y", "total"])
def run_fixed(x):
    return register.add_stage(fixed, x, outputs_count=2)

@register.register_method(output_names=["y", "total"])
def run_dynamic(x):
    return register.add_stage(dynamic, x, outputs_count=2)

def both(x):
    return pair.call(pair.call(x, subgraph=0), subgraph=1)

@register.register_method(output_names=["y"])
def times_six(x):
    return register.add_stage(both, x, outputs_count=1)

@register.register_method(output_names=["n"])
def run_count(x):
    return register.add_stage(count, x, outputs_count=1)
"""
ENCRYPTED = """
from servoir.server import register

model = register.declare_model("fixed.mindir", "MindIR")

@register.register_method(output_names=["y", "total"])
def run_fixed(x):
    return register.add_stage(model, x, outputs_count=2)
"""


@pytest.fixture(scope="module")
def mindir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of mindir_models.py."""
    directory = tmp_path_factory.mktemp("mindir")
    done = subprocess.run(
        [sys.executable, "-m", "support.models.mindir_models", str(directory), KEY.hex()],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return directory


def put(directory: Path, source: Path, target: str = "fixed.mindir") -> None:
    """Into the version directory of the servable `s`."""
    version = directory / "models" / "s" / "1"
    version.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, version / target)


@pytest.fixture(scope="module")
def server(run: RunScript, mindir: Path, tmp_path_factory: pytest.TempPathFactory) -> ServerScript:
    work = tmp_path_factory.mktemp("served")
    for file in mindir.glob("*.mindir"):
        put(work, file, file.name)
    code = """
        server.start_servables(config(device_ids=0), enable_lite=True)
        server.start_grpc_server(GRPC)
        server.start_restful_server(REST)
        """
    script = run(code, {"s": CONFIG}, directory=work)
    script.ready(60)
    return script


def ask(server: ServerScript, method: str, instances: Any) -> Any:
    return Client(server.grpc, "s", method).infer(instances)


@pytest.mark.parametrize("count", [1, 4, 10])
@pytest.mark.parametrize("method", ["run_fixed", "run_dynamic"])
def test_batches_of_models_with_a_fixed_and_with_any_batch_size(server: ServerScript, method: str, count: int) -> None:
    x = np.random.default_rng(count).integers(-9, 9, (count, 16)).astype(np.float32)
    y, total = exact_models.expected(x)
    answers = ask(server, method, [{"x": row} for row in x])
    assert [answer["y"].tolist() for answer in answers] == y.tolist()
    assert [float(answer["total"]) for answer in answers] == total.tolist()


def test_a_wrong_instance_fails_alone(server: ServerScript) -> None:
    good, bad = {"x": np.ones(16, np.float32)}, {"x": np.ones(15, np.float32)}
    answers = ask(server, "run_fixed", [good, bad, {"x": np.ones(16, np.int32)}, good])
    assert ["error" in answer for answer in answers] == [False, True, True, False]


def test_several_subgraphs(server: ServerScript) -> None:
    answers = ask(server, "times_six", [{"x": np.full(3, n, np.float32)} for n in range(5)])
    assert [answer["y"].tolist() for answer in answers] == [[6.0 * n] * 3 for n in range(5)]


def test_a_model_with_state_keeps_it(server: ServerScript) -> None:
    """The warm-up at the start was its first run."""
    counted = [float(ask(server, "run_count", {"x": np.zeros(1, np.float32)})[0]["n"][0]) for _ in range(3)]
    assert counted == [counted[0] + k for k in range(3)]


def test_rest(server: ServerScript) -> None:
    answer = requests.post(
        f"http://{server.rest}/model/s:times_six", json={"instances": [{"x": [1.0, 2.0, 3.0]}]}, timeout=30
    )
    assert answer.json() == {"instances": [{"y": [6.0, 12.0, 18.0]}]}


def test_enable_lite_says_that_mindspore_itself_runs_the_models(server: ServerScript) -> None:
    assert [line for line in server.lines if "enable_lite has no effect" in line]


def test_models_that_mindspore_has_encrypted(run: RunScript, mindir: Path, tmp_path: Path) -> None:
    put(tmp_path, mindir / "gcm.mindir")
    code = f"""
        server.start_servables(config(device_ids=0, dec_key={KEY!r}))
        server.start_grpc_server(GRPC)
        server.start_restful_server(REST)
        """
    script = run(code, {"s": ENCRYPTED}, directory=tmp_path)
    script.ready(60)
    (answer,) = ask(script, "run_fixed", {"x": np.ones(16, np.float32)})
    assert answer["y"].tolist() == exact_models.expected(np.ones(16))[0].tolist()
    script.kill()


OPEN = """
import json, sys
import numpy as np
from servoir import backends
from servoir.encryption import DecryptionKey

for path, model_format, key, mode, options in json.load(sys.stdin):
    secret = DecryptionKey(bytes.fromhex(key), mode) if key else None
    try:
        (subgraph,) = backends.open_model([path], model_format, None, 1, backends.CPU, options, secret).subgraphs
        (y, total) = subgraph.execute_copied([np.ones((4, 16), np.float32)])
        print("opened", json.dumps([subgraph.inputs, subgraph.outputs, y[3].tolist(), total.tolist()]))
    except RuntimeError as error:
        print("refused", " ".join(str(error).split()))
"""


@pytest.fixture(scope="module")
def opened(mindir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a process says that opens one file after the other."""
    work = tmp_path_factory.mktemp("opened")
    key, wrong = KEY.hex(), secrets.token_hex(16)
    (work / "cut.mindir").write_bytes((mindir / "fixed.mindir").read_bytes()[:700])
    (work / "changed.mindir").write_bytes((mindir / "gcm.mindir").read_bytes()[:-40])
    encryption.encrypt_file(str(mindir / "fixed.mindir"), str(work / "ours.mindir"), DecryptionKey(KEY, "AES-CBC"))
    shutil.copyfile(mindir / "fixed.mindir", work / "fixed.model")
    (work / "config.json").write_text('{"jit_level": "O0"}')
    cases: dict[str, list[Any]] = {
        "plain": [str(mindir / "fixed.mindir"), None, None, None, {}],
        "dynamic": [str(mindir / "dynamic.mindir"), "MindIR", None, None, {}],
        "gcm": [str(mindir / "gcm.mindir"), None, key, "AES-GCM", {}],
        "cbc": [str(mindir / "cbc.mindir"), "MINDIR", key, "AES-CBC", {}],
        "ours": [str(work / "ours.mindir"), None, key, "AES-CBC", {"precision_mode": "fp16"}],
        "wrong gcm": [str(mindir / "gcm.mindir"), None, wrong, "AES-GCM", {}],
        "wrong cbc": [str(mindir / "cbc.mindir"), None, wrong, "AES-CBC", {}],
        "wrong ours": [str(work / "ours.mindir"), None, wrong, "AES-CBC", {}],
        "changed": [str(work / "changed.mindir"), None, key, "AES-GCM", {}],
        "cut": [str(work / "cut.mindir"), None, None, None, {}],
        "name": [str(work / "fixed.model"), None, None, None, {}],
        "config": [str(mindir / "fixed.mindir"), None, None, None, {"config_file": str(work / "config.json")}],
    }
    done = subprocess.run(
        [sys.executable, "-c", OPEN],
        input=json.dumps(list(cases.values())),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith(("opened", "refused"))]
    return dict(zip(cases, lines, strict=True))


@pytest.mark.parametrize("name", ["plain", "dynamic", "gcm", "cbc", "ours"])
def test_files_that_are_opened(opened: dict[str, str], name: str) -> None:
    """Plain, encrypted by MindSpore in both modes, and by `servoir encrypt`."""
    kind, _, text = opened[name].partition(" ")
    assert kind == "opened", text
    inputs, outputs, y, total = json.loads(text)
    rows = -1 if name == "dynamic" else 4
    assert inputs == [{"name": "x", "dtype": "float32", "shape": [rows, 16]}]
    assert [(port["dtype"], port["shape"]) for port in outputs] == [("float32", [rows, 24]), ("float32", [rows])]
    expected_y, expected_total = exact_models.expected(np.ones(16))
    assert y == expected_y.tolist()
    assert total == [float(expected_total)] * 4


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "wrong gcm",
            r"MindSpore cannot decrypt '.*gcm\.mindir': it was encrypted with another key .*, or was changed",
        ),
        (
            "wrong cbc",
            r"MindSpore cannot decrypt '.*cbc\.mindir': it was encrypted with another key .*, or was changed",
        ),
        ("wrong ours", r"ours\.mindir' was encrypted with another key"),
        ("changed", r"MindSpore cannot decrypt '.*changed\.mindir'"),
        ("cut", r"cut\.mindir' is truncated, or no MindIR file"),
        ("name", r"opens only files whose names end with '\.mindir', not '.*fixed\.model'; rename it"),
        ("config", "'jit_level' of the config_file is unknown"),
    ],
)
def test_files_that_are_refused(opened: dict[str, str], name: str, text: str) -> None:
    assert opened[name].startswith("refused")
    assert re.search(text, opened[name]), opened[name]
