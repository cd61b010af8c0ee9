"""declare_model and Model.call: what they take and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest
from servoir.servable.declarations import CallTarget, Declarations
from servoir.server import register


def test_a_model_is_known_by_its_files(declared: Declarations) -> None:
    one = register.declare_model("a.onnx", "onnx")
    two = register.declare_model(("b.xml", "c.xml"), model_format="OpenVINO", with_batch_dim=False)
    assert list(declared.models) == ["a.onnx", "b.xml;c.xml"]
    assert one.model_format == "ONNX"
    assert (two.files, two.with_batch_dim) == (("b.xml", "c.xml"), False)
    assert register.declare_model("d.om").model_format is None


def test_input_zero_without_batch_dimension_is_input_zero() -> None:
    assert register.declare_model("a", without_batch_dim_inputs=0).without_batch_dim_inputs == (0,)
    assert register.declare_model("b", without_batch_dim_inputs=[2, 0]).without_batch_dim_inputs == (2, 0)
    assert register.declare_model("c").without_batch_dim_inputs == ()


@pytest.mark.parametrize("word", ["OM", "MindIR", "MindIR_Opt", "MindIR_Lite", "onnx", "OPENVINO", "torchscript"])
def test_formats(word: str) -> None:
    assert register.declare_model("a", word).model_format is not None


@pytest.mark.parametrize(
    ("change", "parameter"),
    [
        ({"model_file": ""}, "model_file"),
        ({"model_file": []}, "model_file"),
        ({"model_file": None}, "model_file"),
        ({"model_file": b"a"}, "model_file"),
        ({"model_file": ["a", ""]}, "model_file"),
        ({"model_file": ["a", 1]}, "model_file"),
        ({"model_file": ["a", "a"]}, "model_file"),
        ({"model_format": "keras"}, "model_format"),
        ({"model_format": ""}, "model_format"),
        ({"model_format": 3}, "model_format"),
        ({"with_batch_dim": 1}, "with_batch_dim"),
        ({"trial": 0}, "trial"),
        ({"example": []}, "example"),
        ({"example": {}}, "example"),
        ({"example": 3.5}, "example"),
        ({"example": "text"}, "example"),
        ({"with_batch_dim": None}, "with_batch_dim"),
        ({"without_batch_dim_inputs": "0"}, "without_batch_dim_inputs"),
        ({"without_batch_dim_inputs": -1}, "without_batch_dim_inputs"),
        ({"without_batch_dim_inputs": True}, "without_batch_dim_inputs"),
        ({"without_batch_dim_inputs": (0, 0)}, "without_batch_dim_inputs"),
        ({"without_batch_dim_inputs": (0, 1.0)}, "without_batch_dim_inputs"),
        ({"context": "cpu"}, "context"),
        ({"options": "x"}, "options"),
        ({"config_file": ""}, "config_file"),
        ({"config_file": 1}, "config_file"),
        ({"backend": ""}, "backend"),
        ({"max_batch_size": 0}, "max_batch_size"),
        ({"max_batch_size": True}, "max_batch_size"),
        ({"max_queue_delay": -1}, "max_queue_delay"),
        ({"max_queue_delay": float("nan")}, "max_queue_delay"),
        ({"max_queue_delay": float("inf")}, "max_queue_delay"),
        ({"max_queue_delay": "1"}, "max_queue_delay"),
    ],
)
def test_bad_arguments(change: dict[str, Any], parameter: str, declared: Declarations) -> None:
    with pytest.raises(RuntimeError, match=f"'{parameter}"):
        register.declare_model(**({"model_file": "a.onnx"} | change))
    assert not declared.models


def test_a_file_belongs_to_one_model() -> None:
    register.declare_model(["a", "b"])
    with pytest.raises(RuntimeError, match=r"'model_file': 'b' is already the file of model 'a;b'"):
        register.declare_model(["c", "b"])


class Doubled:
    inputs = outputs = [{"name": "x", "dtype": "float32", "shape": [-1, 2]}]

    def execute(self, inputs: Any) -> Any:
        return [inputs[0] * 2]


def test_a_class_as_a_model(declared: Declarations) -> None:
    register.declare_model(["a.npy", "b.npy"], backend=Doubled)
    register.declare_model(backend=Doubled, model_format="python")
    register.declare_model([], backend=Doubled)
    register.declare_model(["c.onnx", "d.onnx"])
    assert list(declared.models) == ["a.npy;b.npy", "Doubled", "Doubled (2)", "c.onnx;d.onnx"]
    assert [model.subgraph_count for model in declared.models.values()] == [1, 1, 1, 2]
    assert [declared.model_callee(model, 0) for model in declared.models.values()] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"backend": Doubled()}, "'backend' should be the name of a backend, or a class"),
        ({"backend": 3}, "'backend' should be the name of a backend, or a class"),
        ({"backend": str}, r"'backend': the class str cannot run a model: it has no method execute\(self, inputs\); "),
        ({"backend": Doubled, "model_format": "ONNX"}, "'model_format' is 'ONNX', but 'backend' is a class"),
        ({"model_format": "Python"}, "'model_format' is 'Python', but 'backend' is no class"),
        ({"backend": Doubled, "model_file": ""}, "'model_file'"),
    ],
)
def test_a_class_that_is_none(change: dict[str, Any], text: str, declared: Declarations) -> None:
    with pytest.raises(RuntimeError, match=text):
        register.declare_model(**({"model_file": "a.onnx"} | change))
    assert not declared.models


# ---- Model.call


class Calls:
    """Plays the worker: gives each instance its inputs back as outputs."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def __call__(self, callee: int, instances: Any) -> Any:
        self.seen.append((callee, instances))
        return tuple(tuple(instance) for instance in instances)


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
def model(calls: Calls) -> register.Model:
    made = register.declare_model(["a", "b"])
    made.bind([CallTarget(4, 2, ("y", "z")), CallTarget(5, 1, ("y",))], calls)
    return made


def test_call_with_the_inputs_of_one_instance(model: register.Model, calls: Calls) -> None:
    assert model.call(1, "x") == (1, "x")
    assert model.call(7, subgraph=1) == 7
    assert calls.seen == [(4, ((1, "x"),)), (5, ((7,),))]


def test_call_picks_outputs_by_name(model: register.Model) -> None:
    assert model.outputs == ("y", "z")
    assert model.call(1, "x", outputs="z") == "x"
    assert model.call(1, "x", outputs=["z"]) == "x"
    assert model.call(1, "x", outputs=["z", "y"]) == ("x", 1)
    assert model.call([[1, 2], (3, 4)], outputs=["z"]) == ((2,), (4,))
    assert model.call(7, subgraph=1, outputs="y") == 7
    with pytest.raises(RuntimeError, match=r"Model\.call of 'a;b': the model has no output 'label'; it has 'y', 'z'"):
        model.call(1, 2, outputs=["y", "label"])
    with pytest.raises(RuntimeError, match="'outputs'"):
        model.call(1, 2, outputs=0)  # type: ignore[arg-type]


def test_outputs_are_known_in_stages_only() -> None:
    model = register.declare_model("a")
    with pytest.raises(RuntimeError, match=r"Model\.outputs of 'a' works only inside a stage function"):
        _ = model.outputs


def test_call_with_instances(model: register.Model, calls: Calls) -> None:
    assert model.call([[1, 2], (3, 4)]) == ((1, 2), (3, 4))
    assert model.call(([1],), subgraph=1) == ((1,),)
    assert [callee for callee, _ in calls.seen] == [4, 5]


@pytest.mark.parametrize(
    ("args", "subgraph", "text"),
    [
        ((), 0, "needs the 2 inputs"),
        (([],), 0, "empty"),
        (([[1, 2], 3],), 0, "instance 1 .* int"),
        (([[1, 2], [3]],), 0, "instance 1 has 1 inputs, but the model has 2"),
        ((1,), 0, "instance 0 has 1 inputs, but the model has 2"),
        ((1, 2, 3), 0, "instance 0 has 3 inputs, but the model has 2"),
        ((1,), 2, "no subgraph 2; it has 2"),
        ((1,), -1, "'subgraph'"),
        ((1,), "0", "'subgraph'"),
        ((1,), True, "'subgraph'"),
    ],
)
def test_bad_calls(model: register.Model, calls: Calls, args: Any, subgraph: Any, text: str) -> None:
    with pytest.raises(RuntimeError, match=text):
        model.call(*args, subgraph=subgraph)
    assert calls.seen == []


def test_call_works_only_in_a_stage() -> None:
    with pytest.raises(RuntimeError, match="only inside a stage function"):
        register.declare_model("a").call(1)
