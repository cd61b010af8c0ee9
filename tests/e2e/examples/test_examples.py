"""Each example as its README says, and the demo."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from servoir.client import Client
from support import EXAMPLES
from support.modules import load_module
from support.rest_client import post
from support.servers import ServerProcess, free_address

NAMES = ["tensor_add", "add_sub_pipeline", "mlp", "multi_subgraph", "resnet", "ocr"]


def running(example: str, work: Path, example_servables: Path) -> Iterator[ServerProcess]:
    """A copy of the example with its models, its own server script running."""
    shutil.copytree(EXAMPLES / example, work / example, ignore=shutil.ignore_patterns("__pycache__"))
    servable = load_module(EXAMPLES / "demo_models.py").EXAMPLES[example]
    shutil.copytree(example_servables / servable, work / example / servable, dirs_exist_ok=True)
    script, addresses = work / example / "serving_server.py", (free_address(), free_address())
    text = script.read_text()
    for written, free in zip(("127.0.0.1:5500", "127.0.0.1:1500"), addresses, strict=True):
        assert text.count(f'"{written}"') == 1, script
        text = text.replace(written, free)
    script.write_text(text)
    server = ServerProcess([str(script)], work / "run", addresses=addresses)
    try:
        server.ready()
        yield server
    finally:
        server.kill()


@pytest.fixture(params=NAMES)
def example(request: pytest.FixtureRequest, tmp_path: Path, example_servables: Path) -> Iterator[Any]:
    for server in running(request.param, tmp_path, example_servables):
        yield request.param, server


def curl_lines(example: str) -> list[tuple[str, str]]:
    """The commands with curl of an example's README, each with the answer that is shown below it."""
    text = (EXAMPLES / example / "README.md").read_text().replace("\\\n", " ")
    found = re.findall(r"^ {4}(curl .*)\n {4}(\{.*\})", text, re.MULTILINE)
    assert len(found) == text.count("    curl "), f"{example}/README.md has a curl line without an answer"
    return found


def check_curl_lines(example: str, server: ServerProcess) -> None:
    for command, answer in curl_lines(example):
        done = subprocess.run(
            command.replace("127.0.0.1:1500", server.rest).replace("curl", "curl -s"),
            shell=True,
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        assert json.loads(done.stdout) == json.loads(answer), command


def check_tensor_add(server: ServerProcess) -> None:
    check_curl_lines("tensor_add", server)
    for method in ("add_cast", "add_common"):
        answers = post(server, f"add:{method}", [{"x1": [[1, 2], [3, 4]], "x2": [[1, 1], [1, 1]]}])
        assert answers == [{"y": [[2.0, 3.0], [4.0, 5.0]]}]
    ones = [[1.0, 1.0], [1.0, 1.0]]
    bad, good = post(server, "add:add_common", [{"x1": [1.0], "x2": [1.0]}, {"x1": ones, "x2": ones}])
    assert "error_msg" in bad
    assert good == {"y": [[2.0, 2.0], [2.0, 2.0]]}


def check_add_sub_pipeline(server: ServerProcess) -> None:
    check_curl_lines("add_sub_pipeline", server)
    answer = post(server, "add_sub:add_all", [{"xs": [[[1.0, 1.0], [1.0, 1.0]]]}])
    assert answer == [{"y": [[1.0, 1.0], [1.0, 1.0]], "calls": 0}]


def check_multi_subgraph(server: ServerProcess) -> None:
    history = [float(np.sin(np.pi * t / 6)) for t in range(32)]
    given = [{"history": history, "steps": steps} for steps in (4, 0, 2)]
    future = np.sin(np.pi * np.arange(32, 36) / 6)
    for method in ("predict", "predict_together"):
        answers = post(server, f"forecast:{method}", [given[0], given[2]])
        assert np.allclose(answers[0]["values"], future, atol=1e-3)
        assert np.allclose(answers[1]["values"], future[:2], atol=1e-3)
    answers = post(server, "forecast:predict", given)
    assert "Call Forecast Failed" in answers[1]["error_msg"]
    assert "steps should be in 1…1000, but is 0" in answers[1]["error_msg"]
    assert len(answers[2]["values"]) == 2

    # Many clients at once: their states do not mix.
    client = Client(server.grpc, "forecast", "predict")
    waves = [np.float32(height) * np.array(history, np.float32) for height in range(1, 17)]
    calls = [client.infer_async({"history": wave, "steps": 12}) for wave in waves]
    for wave, call in zip(waves, calls, strict=True):
        assert np.allclose(call.result()[0]["values"], wave[8:20], atol=0.02)


def check_resnet(server: ServerProcess) -> None:
    draw_picture = load_module(EXAMPLES / "resnet" / "draw_picture.py")
    picture = {"image": {"b64": base64.b64encode(draw_picture.png("blue disc", 7)).decode()}}
    good, bad = post(server, "resnet:classify_top1", [picture, {"image": {"b64": "AAAA"}}])
    assert good == {"label": "blue disc"}
    assert "Call Preprocess Failed" in bad["error_msg"]
    (answer,) = post(server, "resnet:classify_top5", [picture])
    labels = answer["label"].split(";")
    assert labels[0] == "blue disc"
    assert len(set(labels)) == 5
    assert set(labels) < set(draw_picture.LABELS)
    assert answer["score"] == sorted(answer["score"], reverse=True)
    jpeg = io.BytesIO()
    draw_picture.draw("green stripes", 8, 300).save(jpeg, "JPEG")
    (answer,) = Client(server.grpc, "resnet", "classify_top1").infer({"image": jpeg.getvalue()})
    assert answer == {"label": "green stripes"}


def check_mlp(server: ServerProcess) -> None:
    (answer,) = post(server, "mlp:classify", [{"x": [0.5] * 784}])
    assert len(answer["y"]) == 10
    assert answer["digit"] == int(np.argmax(answer["y"]))


def check_ocr(server: ServerProcess) -> None:
    make_image = load_module(EXAMPLES / "ocr" / "make_image.py")
    image = make_image.draw()
    (answer,) = post(server, "ocr:read", [{"image": {"b64": base64.b64encode(image).decode(), "type": "bytes"}}])
    assert answer["text"].splitlines() == list(make_image.LINES)
    assert np.array(answer["boxes"]).shape == (3, 4)

    client = Client(server.grpc, "ocr", "read")
    words = ("Northbound 17", "Platform B")
    results = client.infer(
        [{"image": make_image.draw(words)}, {"image": b"this is no picture"}, {"image": make_image.draw(("",))}]
    )
    assert results[0]["text"].splitlines() == list(words)
    assert "Decode" in results[1]["error"]
    assert results[2]["text"] == ""
    assert results[2]["boxes"].shape == (0, 4)

    single = ("Northbound", "Platform", "Departure")
    calls = [client.infer_async({"image": make_image.draw((word,))}) for word in single]
    for word, call in zip(single, calls, strict=True):
        assert call.result()[0]["text"] == word


def test_example(example: tuple[str, ServerProcess]) -> None:
    name, server = example
    script = server.work.parent / name / "serving_client.py"
    done = subprocess.run(
        [sys.executable, str(script), server.grpc], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    checks = {
        "tensor_add": check_tensor_add,
        "add_sub_pipeline": check_add_sub_pipeline,
        "mlp": check_mlp,
        "multi_subgraph": check_multi_subgraph,
        "resnet": check_resnet,
        "ocr": check_ocr,
    }
    checks[name](server)


def test_demo(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "demo.py"), "--work", str(tmp_path), "--seconds", "1"],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for words in ("add:add_cast", "mlp:predict", "SERVOIR SERVES MODELS"):
        assert words in done.stdout


def test_boxes_of_connected_areas() -> None:
    """text_boxes.components against a flood fill, on random masks."""
    text_boxes = load_module(EXAMPLES / "ocr" / "ocr" / "text_boxes.py")

    def flood(mask: np.ndarray) -> set[tuple[int, ...]]:
        left = {(int(r), int(c)) for r, c in np.argwhere(mask)}
        boxes: set[tuple[int, ...]] = set()
        while left:
            area, edge = set(), [left.pop()]
            while edge:
                r, c = edge.pop()
                area.add((r, c))
                near = {(r + i, c + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
                left -= near
                edge += near
            rows, columns = zip(*area, strict=True)
            boxes.add((min(columns), min(rows), max(columns) + 1, max(rows) + 1))
        return boxes

    rng = np.random.default_rng(9)
    for density in (0.0, 0.1, 0.3, 0.5, 0.8, 1.0):
        for shape in ((1, 1), (1, 20), (20, 1), (17, 23)):
            mask = rng.random(shape) < density
            assert {tuple(map(int, box)) for box in text_boxes.components(mask)} == flood(mask)


def test_models_are_not_in_git() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "examples"], cwd=EXAMPLES.parent, capture_output=True, text=True, check=False
    )
    if listed.returncode == 0:
        assert not [name for name in listed.stdout.split() if name.endswith((".onnx", ".bin", ".xml"))]


def test_readmes_name_every_file() -> None:
    assert sorted(NAMES) == sorted(path.parent.name for path in EXAMPLES.glob("*/serving_server.py"))
    for name in NAMES:
        text = (EXAMPLES / name / "README.md").read_text()
        for words in ("serving_server.py", "serving_client.py", "make_model.py", "curl"):
            assert words in text, f"{name}/README.md says nothing about {words}"
