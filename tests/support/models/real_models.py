"""Real models out of PyPI packages, which are not run and need nothing of what they depend on: PP-OCRv6 (rapidocr),
magika's classifier, silero-vad. See the groups `models` and `test-models` of pyproject.toml."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

PACKAGES = {
    "detection": ("rapidocr", "models/PP-OCRv6_det_small.onnx"),
    "recognition": ("rapidocr", "models/PP-OCRv6_rec_small.onnx"),
    "magika": ("magika", "models/standard_v3_3/model.onnx"),
    "silero": ("silero_vad", "data/silero_vad.onnx"),  # with `If`: two models in one, for 8 and 16 kHz
    "silero_16k": ("silero_vad", "data/silero_vad_16k_op15.onnx"),
    "silero_ifless": ("silero_vad", "data/silero_vad_op18_ifless.onnx"),
    "silero_script": ("silero_vad", "data/silero_vad.jit"),
}


def find(name: str) -> Path | None:
    """The model's file; None where the package is not installed."""
    package, inner = PACKAGES[name]
    spec = importlib.util.find_spec(package)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent / inner


@dataclass(frozen=True)
class Model:
    name: str
    declaration: str  # further arguments of declare_model
    inputs: tuple[str, ...]  # of the method
    stages: str  # of the method
    outputs: tuple[str, ...]


CONFIG = """
from servoir.server import register

model = register.declare_model({file!r}, backend={backend!r}{declaration})


@register.register_method(output_names={outputs!r})
def run({inputs}):
    return {stages}
"""


def write(directory: Path, name: str, model: Model, file: str, backend: str) -> Path:
    """Writes the servable DIRECTORY/NAME without its model's file; returns where that belongs."""
    (directory / name / "1").mkdir(parents=True)
    (directory / name / "servable_config.py").write_text(
        CONFIG.format(
            file=file,
            backend=backend,
            declaration=f", {model.declaration}" if model.declaration else "",
            outputs=list(model.outputs),
            inputs=", ".join(model.inputs),
            stages=model.stages,
        )
    )
    return directory / name / "1" / file


# The recurrent state of silero-vad has the batch as its second dimension, so instances are run one by one, each with a
# state of its own, which the client sends back with the next piece.
MODELS = {
    "detection": Model(
        "detection", "max_batch_size=2", ("x",), "register.add_stage(model, x, outputs_count=1)", ("y",)
    ),
    "recognition": Model(
        "recognition", "max_batch_size=4", ("x",), "register.add_stage(model, x, outputs_count=1)", ("y",)
    ),
    "magika": Model("magika", "", ("x",), "register.add_stage(model, x, outputs_count=1)", ("y",)),
    "silero": Model(
        "silero",
        "with_batch_dim=False",
        ("x", "state", "rate"),
        "register.add_stage(model, x, state, rate, outputs_count=2)",
        ("speech", "state"),
    ),
    "silero_16k": Model(
        "silero_16k",
        "with_batch_dim=False",
        ("x", "state", "rate"),
        "register.add_stage(model, x, state, rate, outputs_count=2)",
        ("speech", "state"),
    ),
    "silero_ifless": Model(
        "silero_ifless",
        "with_batch_dim=False",
        ("x", "state", "rate"),
        "register.add_stage(model, x, rate, state, outputs_count=2)",
        ("speech", "state"),
    ),
}


def instances(name: str) -> list[dict[str, Any]]:
    """As a client sends them, without the batch dimension."""
    rng = np.random.default_rng(7)
    if name == "detection":
        return [{"x": _page(rng, 64, 96)} for _ in range(2)]
    if name == "recognition":
        return [{"x": _page(rng, 48, width)} for width in (96, 160, 96)]
    if name == "magika":
        return [{"x": rng.integers(0, 257, 2048).astype(np.int32)} for _ in range(5)]
    raise KeyError(name)


def _page(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Dark blocks on white, as large as letters."""
    page = np.ones((3, height, width), np.float32)
    for _ in range(height * width // 200):
        y, x = rng.integers(0, height - 6), rng.integers(0, width - 4)
        page[:, y : y + 6, x : x + 2] = -1
    return page + 0.05 * rng.standard_normal(page.shape).astype(np.float32)


SAMPLES, CONTEXT = 512, 64  # samples of a piece of 16 kHz sound, and of the end of the piece before, which goes with it


def sound(pieces: int) -> np.ndarray:
    """Tones that come and go, in noise."""
    rng = np.random.default_rng(11)
    time = np.arange(pieces * SAMPLES) / 16000
    tone = sum(np.sin(2 * np.pi * 140 * k * time) / k for k in range(1, 12))
    loud = (np.sin(2 * np.pi * 1.5 * time) > 0) * 0.2
    return (loud * tone + 0.003 * rng.standard_normal(time.size)).astype(np.float32)


def pieces_of(samples: np.ndarray) -> list[np.ndarray]:
    """[1, CONTEXT + SAMPLES] each."""
    padded = np.concatenate([np.zeros(CONTEXT, np.float32), samples])
    return [padded[None, start : start + CONTEXT + SAMPLES] for start in range(0, len(padded) - CONTEXT, SAMPLES)]
