"""Models that are classes in servable_config.py: with files, batches, several workers, Model.call, and their errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from servoir.client import Client
from support.servers import ServerProcess, Start

WEIGHTS = np.array([[1, 2], [3, 4], [5, 6]], np.float32)
BIAS = np.array([10, 20], np.float32)


@pytest.fixture(scope="module")
def computed(start_for_module: Start, servables: Path) -> ServerProcess:
    version = servables / "computed" / "1"
    version.mkdir()
    np.save(version / "weights.npy", WEIGHTS)
    np.save(version / "bias.npy", BIAS)
    return start_for_module("computed", device_ids=[0, 1])


def test_answers_and_batches(computed: ServerProcess) -> None:
    given = [{"x": np.array([n, 1, -n], np.float32)} for n in range(50)]
    with Client(computed.grpc, "computed", "apply") as client:
        calls = [client.infer_async(given) for _ in range(4)]
        for call in calls:
            answers = call.result()
            assert [answer["y"].tolist() for answer in answers] == [
                (one["x"] @ WEIGHTS + BIAS).tolist() for one in given
            ]
            assert max(int(answer["rows"]) for answer in answers) <= 4
            assert max(int(answer["rows"]) for answer in answers) > 1


def test_every_worker_has_one(computed: ServerProcess) -> None:
    found: set[int] = set()
    with Client(computed.grpc, "computed", "where") as client:
        for _ in range(200):
            calls = [client.infer_async({"x": np.zeros(n, np.int8)}) for n in range(8)]
            for call in calls:
                (answer,) = call.result()
                found |= {int(answer["one"]), int(answer["other"])}
            if len(found) == 2:
                break
    assert sorted(found) == computed.workers()


def test_a_function_calls_it(computed: ServerProcess) -> None:
    with Client(computed.grpc, "computed", "by_call") as client:
        (answer,) = client.infer({"x": np.array([1, 0, 0], np.float32)})
    assert float(answer["sum"]) == (1 + 10) + (2 + 10)


def test_its_errors_are_those_of_instances(computed: ServerProcess) -> None:
    with Client(computed.grpc, "computed", "apply") as client:
        answers = client.infer([{"x": np.array([n, 0, 0], np.float32)} for n in (1, 666, 2)])
        assert [answers[0]["y"].tolist(), answers[2]["y"].tolist()] == [[11, 22], [12, 24]]
        assert "the class Linear failed: ValueError: 666 is not served here" in answers[1]["error"]
        good, bad = client.infer([{"x": np.ones(3, np.float32)}, {"x": np.ones(4, np.float32)}])
        assert good["y"].tolist() == [19, 32]
        assert "has to be float32 [3]" in bad["error"]


@pytest.mark.parametrize(
    ("class_text", "texts"),
    [
        (
            "class Model: pass",
            ["the class Model cannot run a model", "no method execute", "no 'inputs'", "no 'outputs'"],
        ),
        (
            "class Model:\n    inputs = outputs = ['x']\n    def __init__(self): 1 / 0\n"
            "    def execute(self, inputs): ...",
            ["the constructor of the class Model failed: ZeroDivisionError"],
        ),
    ],
)
def test_what_is_wrong_with_a_class_is_said_at_the_start(
    class_text: str, texts: list[str], start: Start, tmp_path: Path
) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "servable_config.py").write_text(
        f"from servoir.server import register\n\n{class_text}\n\nmodel = register.declare_model(backend=Model)\n\n"
        "@register.register_method(output_names=['y'])\ndef run(x):\n"
        "    return register.add_stage(model, x, outputs_count=1)\n"
    )
    with pytest.raises(AssertionError) as raised:
        start("bad", directory=tmp_path, device_ids=0)
    for text in texts:
        assert text in str(raised.value)
