"""PP-OCRv6, magika and silero-vad, served by every backend that is here and can load them: the answers are those of
ONNX Runtime, called directly, within 1e-3."""

from __future__ import annotations

import importlib.util
import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from servoir.backends.native import plugin_path
from servoir.client import Client
from support.models import real_models
from support.models.real_models import MODELS, find, instances, pieces_of, sound
from support.servers import ServerProcess, Start

TOLERANCE = 1e-3
# What cannot be loaded, and what is said of it then.
# * silero_vad.onnx has both of its models in an `If`, the one for 16 kHz an `If` inside. OpenVINO wants to know how
#   many dimensions the input of a convolution has, and such branches do not tell; OpenCV 5.0.0 does not read them.
REFUSED = {
    ("openvino", "silero"): ("cannot open", "rank"),
    ("openvino", "silero_16k"): ("cannot open", "rank"),
    ("opencv_dnn", "silero"): ("cannot open", "cannot be read as ONNX"),
    ("opencv_dnn", "silero_16k"): ("cannot open", "cannot be read as ONNX"),
}


def here(backend: str) -> bool:
    if backend == "opencv_dnn":
        return Path(plugin_path(backend)).is_file()
    return importlib.util.find_spec(backend) is not None


BACKENDS = [backend for backend in ("openvino", "onnxruntime", "opencv_dnn") if here(backend)]


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime", "opencv_dnn", "torch"])
def test_the_backend_is_here(backend: str) -> None:
    if not here(backend):
        pytest.skip(f"NO REAL MODEL IS RUN BY {backend.upper()}: it is not here")


def file_of(name: str) -> Path:
    path = find(name)
    if path is None:
        pytest.skip(f"the package {real_models.PACKAGES[name][0]} is not installed")
    return path


def reference(name: str) -> Callable[..., list[np.ndarray]]:
    """The model in ONNX Runtime itself: a function of its inputs, by name."""
    ort = pytest.importorskip("onnxruntime", reason="without ONNX Runtime there is nothing to compare with")
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(str(file_of(name)), options, providers=["CPUExecutionProvider"])
    return lambda **inputs: session.run(None, inputs)


def serving(start: Start, directory: Path, name: str, backend: str) -> ServerProcess:
    source = file_of(name)
    shutil.copyfile(source, real_models.write(directory, name, MODELS[name], source.name, backend))
    return start(name, directory=directory, device_ids=0)


@pytest.mark.parametrize("name", ["detection", "recognition", "magika"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_pictures_and_files(backend: str, name: str, start: Start, tmp_path: Path) -> None:
    server = serving(start, tmp_path, name, backend)
    given = instances(name)
    run = reference(name)
    (key,) = {"magika": ["bytes"]}.get(name, ["x"])
    with Client(server.grpc, name, "run") as client:
        for _ in range(2):
            answers = client.infer(given)
            for one, answer in zip(given, answers, strict=True):
                (wanted,) = run(**{key: one["x"][None]})
                assert answer["y"].shape == wanted.shape[1:]
                assert np.abs(answer["y"] - wanted[0]).max() <= TOLERANCE


def speech_of(run: Callable[..., list[np.ndarray]], samples: np.ndarray) -> list[float]:
    state = np.zeros((2, 1, 128), np.float32)
    found = []
    for piece in pieces_of(samples):
        speech, state = run(input=piece, state=state, sr=np.array(16000))
        found.append(float(speech[0, 0]))
    return found


@pytest.mark.parametrize("name", ["silero", "silero_16k", "silero_ifless"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_speech_in_a_stream(backend: str, name: str, start: Start, tmp_path: Path) -> None:
    """The client keeps the state between the pieces, so that any number of streams may share the model."""
    if (backend, name) in REFUSED:
        refused(start, tmp_path, name, backend)
        return
    server = serving(start, tmp_path, name, backend)
    streams = [sound(12), 0.5 * sound(12)[::-1].copy()]
    run = reference(name)
    wanted = [speech_of(run, stream) for stream in streams]
    states = [np.zeros((2, 1, 128), np.float32) for _ in streams]
    with Client(server.grpc, name, "run") as client:
        for number, pieces in enumerate(zip(*map(pieces_of, streams), strict=True)):
            given = [
                {"x": piece, "state": state, "rate": np.int64(16000)}
                for piece, state in zip(pieces, states, strict=True)
            ]
            answers: Any = client.infer(given)
            states = [answer["state"] for answer in answers]
            for stream, answer in enumerate(answers):
                assert abs(float(answer["speech"][0, 0]) - wanted[stream][number]) <= TOLERANCE
    assert max(wanted[0]) - min(wanted[0]) > 10 * TOLERANCE, "the sound should make a difference"


def refused(start: Start, directory: Path, name: str, backend: str) -> None:
    with pytest.raises(AssertionError) as raised:
        serving(start, directory, name, backend)
    for text in REFUSED[backend, name]:
        assert text in str(raised.value)


# ---- TorchScript -----------------------------------------------------------------------------------------------------

SCRIPT_CONFIG = """
from servoir.server import register

# The program inside of silero_vad.jit that takes and gives the state. Its parameter `state` has a default value, so it
# has to be named to become an input.
vad = register.declare_model("vad.pt", with_batch_dim=False, config_file="vad.json")
# The whole file keeps the state itself: of one stream, for one client.
whole = register.declare_model("silero_vad.jit", with_batch_dim=False)


@register.register_method(output_names=["speech", "state"])
def run(x, state):
    return register.add_stage(vad, x, state, outputs_count=2)


@register.register_method(output_names=["speech"])
def run_whole(x, rate):
    return register.add_stage(whole, x, rate, outputs_count=1)
"""


def test_speech_by_torchscript(start: Start, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="NO REAL MODEL IS RUN BY TORCH: it is not here")
    source = file_of("silero_script")
    version = tmp_path / "silero" / "1"
    version.mkdir(parents=True)
    shutil.copyfile(source, version / source.name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated
        torch.jit.save(torch.jit.load(str(source))._model, str(version / "vad.pt"))
    (tmp_path / "silero" / "servable_config.py").write_text(SCRIPT_CONFIG)
    inputs = [
        {"name": "x", "dtype": "float32", "shape": [-1, real_models.CONTEXT + real_models.SAMPLES]},
        {"name": "state", "dtype": "float32", "shape": [2, -1, 128]},
    ]
    (tmp_path / "silero" / "vad.json").write_text(json.dumps({"inputs": inputs}))
    server = start("silero", directory=tmp_path, device_ids=0)
    samples = sound(12)
    wanted = speech_of(reference("silero"), samples)
    state = np.zeros((2, 1, 128), np.float32)
    with Client(server.grpc, "silero", "run") as client, Client(server.grpc, "silero", "run_whole") as whole:
        for piece, expected in zip(pieces_of(samples), wanted, strict=True):
            answer: Any = client.infer({"x": piece, "state": state})[0]
            state = answer["state"]
            assert abs(float(answer["speech"][0, 0]) - expected) <= TOLERANCE
            new = piece[:, real_models.CONTEXT :]
            (answer,) = whole.infer({"x": new, "rate": np.int64(16000)})
            assert abs(float(answer["speech"][0, 0]) - expected) <= TOLERANCE
