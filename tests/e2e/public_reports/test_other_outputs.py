"""A classifier as scikit-learn's converter writes it: its probabilities are a sequence of maps, which cannot be sent to
clients. Its other outputs are served all the same, and a method picks those that it wants by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.foreign_client import ForeignClient
from support.models import onnx_models
from support.processes import ProgramError
from support.rest_client import post
from support.servers import ServerProcess, Start

pytest.importorskip("onnxruntime")

CONFIG = """
from servoir.server import register

model = register.declare_model("classifier.onnx")


@register.register_method(output_names=["label"])
def picked(x):
    return register.add_stage(model, x, outputs=["label"])


@register.register_method(output_names=["label", "scores"])
def in_another_order(x):
    scores, label = register.add_stage(model, x, outputs=["scores", "label"])
    return label, scores


@register.register_method(output_names=["label", "scores"])
def all_that_can_be_served(x):
    return register.add_stage(model, x, outputs_count=2)


def call(x):
    return f"{' '.join(model.outputs)}: {model.call(x, outputs='label')}"


@register.register_method(output_names=["text"])
def called(x):
    return register.add_stage(call, x, outputs_count=1)
"""


def make(directory: Path, name: str, config: str) -> None:
    version = directory / name / "1"
    version.mkdir(parents=True)
    (directory / name / "servable_config.py").write_text(config)
    onnx_models.classifier(version / "classifier.onnx")


@pytest.fixture(scope="module")
def server(start_for_module: Start, tmp_path_factory: pytest.TempPathFactory) -> ServerProcess:
    directory = tmp_path_factory.mktemp("servables")
    make(directory, "iris", CONFIG)
    # Stages, and calls, of a worker without models as well.
    return start_for_module("iris", directory=directory, device_ids=0, num_parallel_workers=2)


X = [np.array(row, np.float32) for row in ([1, 0], [0, 1], [5, 4])]
LABELS = [0, 1, 0]


def test_the_outputs_that_can_be_served_are(foreign: ForeignClient) -> None:
    answers = foreign.call("iris", "picked", *({"x": x} for x in X))
    assert [list(answer) for answer in answers] == [["label"]] * 3
    assert [int(answer["label"]) for answer in answers] == LABELS
    for method in ("in_another_order", "all_that_can_be_served"):
        answers = foreign.call("iris", method, *({"x": x} for x in X))
        assert [int(answer["label"]) for answer in answers] == LABELS
        assert [answer["scores"].argmax() for answer in answers] == LABELS


def test_a_function_picks_outputs_by_name(foreign: ForeignClient) -> None:
    for _ in range(4):  # by both workers
        answers = foreign.call("iris", "called", *({"x": x} for x in X))
        assert [answer["text"] for answer in answers] == [f"label scores: {label}" for label in LABELS]


def test_over_rest(server: ServerProcess) -> None:
    given = [{"x": x.tolist()} for x in X]
    assert post(server, "iris:picked", given) == [{"label": label} for label in LABELS]


@pytest.mark.parametrize("stage", ["outputs='probabilities'", "outputs_count=3"])
def test_the_output_that_cannot_be_served_is_wanted(start: Start, stage: str, tmp_path: Path) -> None:
    config = (
        CONFIG.split("@", maxsplit=1)[0]
        + f"""
@register.register_method(output_names=["y"])
def method(x):
    y = register.add_stage(model, x, {stage})
    return y[0] if isinstance(y, tuple) else y
"""
    )
    make(tmp_path, "iris", config)
    with pytest.raises(ProgramError) as error:
        start("iris", directory=tmp_path, device_ids=0)
    text = str(error.value)
    assert "output 'probabilities' has the type seq(map(int64,tensor(float))), which cannot be served" in text
    assert "zipmap=False" in text
