"""Models that take and give texts, run by ONNX Runtime and by classes: for clients, after functions, and in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import requests
from onnx import TensorProto, helper, save_model
from support.arrays import same
from support.foreign_client import ForeignClient
from support.servers import ServerProcess, Start

CONFIG = """
import numpy as np
from servoir.server import register


class Upper:
    inputs = [{"name": "x", "dtype": "str", "shape": [-1, 2]}]
    outputs = [{"name": "y", "dtype": "str", "shape": [-1, 2]}, {"name": "data", "dtype": "bytes", "shape": [-1]}]

    def execute(self, inputs):
        (x,) = inputs
        assert x.dtype == object and isinstance(x[0, 0], str)
        return [np.char.upper(x.astype(str)), np.array(["+".join(row).encode() for row in x], object)]


class Same:
    inputs = [{"name": "x", "dtype": "str", "shape": [-1, -1]}]
    outputs = [{"name": "y", "dtype": "str", "shape": [-1, -1]}]

    def execute(self, inputs):
        return list(inputs)


upper = register.declare_model(backend=Upper)
same = register.declare_model(backend=Same)
copy = register.declare_model("copy.onnx", backend="onnxruntime")
number = register.declare_model("number.onnx", backend="onnxruntime")
label = register.declare_model("label.onnx", backend="onnxruntime")


@register.register_method(output_names=["y", "data"])
def uppercase(x):
    return register.add_stage(upper, x, outputs_count=2)


@register.register_method(output_names=["y"])
def number_of(x):
    return register.add_stage(number, x, outputs_count=1)


@register.register_method(output_names=["y"])
def copied(x):
    return register.add_stage(copy, x, outputs_count=1)


@register.register_method(output_names=["y"])
def copied_by_a_class(x):
    return register.add_stage(same, x, outputs_count=1)


def split(text):
    return np.array(text.split(), object).reshape(-1, 1)[:2, 0]


@register.register_method(output_names=["y"])
def numbers_of_words(text):
    words = register.add_stage(split, text, outputs_count=1)
    return register.add_stage(number, words, outputs_count=1)


@register.register_method(output_names=["y"])
def label_of(x):
    return register.add_stage(label, x, outputs_count=1)


def call_both(text):
    (numbers,), = number.call([[np.array(text.split())]])
    return label.call(numbers)


@register.register_method(output_names=["y"])
def called(text):
    return register.add_stage(call_both, text, outputs_count=1)
"""


def encoder(path: Path, given: int, made: int, **attributes: object) -> None:
    node = helper.make_node("LabelEncoder", ["x"], ["y"], domain="ai.onnx.ml", **attributes)
    value = helper.make_tensor_value_info
    graph = helper.make_graph([node], "test", [value("x", given, ["N", 2])], [value("y", made, ["N", 2])])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    save_model(helper.make_model(graph, opset_imports=opsets, ir_version=8), str(path))


@pytest.fixture(scope="module")
def server(start_for_module: Start, tmp_path_factory: pytest.TempPathFactory) -> ServerProcess:
    pytest.importorskip("onnxruntime")
    directory = tmp_path_factory.mktemp("servables")
    version = directory / "texts" / "1"
    version.mkdir(parents=True)
    (directory / "texts" / "servable_config.py").write_text(CONFIG)
    words = {"keys_strings": ["cat", "dog"], "values_int64s": [1, 2], "default_int64": -1}
    encoder(version / "number.onnx", TensorProto.STRING, TensorProto.INT64, **words)
    labels = {"keys_int64s": [1, 2], "values_strings": ["Katze", "Hündin"], "default_string": "?"}
    encoder(version / "label.onnx", TensorProto.INT64, TensorProto.STRING, **labels)
    value = helper.make_tensor_value_info
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [0, -1])
    graph = helper.make_graph(
        [helper.make_node("Reshape", ["x", "shape"], ["y"])],
        "test",
        [value("x", TensorProto.STRING, ["N", "L"])],
        [value("y", TensorProto.STRING, ["N", "L"])],
        [shape],
    )
    save_model(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(version / "copy.onnx")
    )
    server: ServerProcess = start_for_module("texts", directory=directory, device_ids=0)
    return server


def test_a_class_gets_texts_as_objects_and_may_give_texts_and_bytes(foreign: ForeignClient) -> None:
    answers = foreign.call("texts", "uppercase", {"x": np.array(["a", "bé"])}, {"x": np.array(["", "c"])})
    assert same(answers[0]["y"], np.array(["A", "BÉ"]))
    assert same(answers[1]["y"], np.array(["", "C"]))
    assert [answer["data"] for answer in answers] == ["a+bé".encode(), b"+c"]


def test_a_model_gets_texts(foreign: ForeignClient) -> None:
    instances = [{"x": np.array(["dog", "cat"])}, {"x": np.array(["cow", "dog"])}]
    answers = foreign.call("texts", "number_of", *instances)
    assert [answer["y"].tolist() for answer in answers] == [[2, 1], [-1, 2]]


def test_a_model_gives_texts(foreign: ForeignClient) -> None:
    (answer,) = foreign.call("texts", "label_of", {"x": np.array([2, 7], np.int64)})
    assert same(answer["y"], np.array(["Hündin", "?"]))


def test_a_model_gets_texts_of_a_function(foreign: ForeignClient) -> None:
    (answer,) = foreign.call("texts", "numbers_of_words", {"text": "cat dog"})
    assert answer["y"].tolist() == [1, 2]


def test_a_function_calls_models_of_texts(foreign: ForeignClient) -> None:
    (answer,) = foreign.call("texts", "called", {"text": "dog cat"})
    assert same(answer["y"], np.array(["Hündin", "Katze"]))


def test_texts_of_another_shape_are_an_error_of_their_instance(foreign: ForeignClient) -> None:
    instances = [{"x": np.array(["dog", "cat", "cow"])}, {"x": np.array(["cow", "dog"])}, {"x": "dog"}]
    few, good, single = foreign.call("texts", "number_of", *instances)
    assert "has to be str [2]; given str [3]" in few["error"]
    assert good["y"].tolist() == [-1, 2]
    assert "has to be str [2]; given str []" in single["error"]


def test_models_of_texts_over_rest(server: ServerProcess) -> None:
    url = f"http://{server.rest}/model/texts"
    body = {"instances": [{"x": ["dog", "cat"]}, {"x": ["dog", "dog"]}]}
    assert requests.post(f"{url}:number_of", json=body, timeout=30).json() == {
        "instances": [{"y": [2, 1]}, {"y": [2, 2]}]
    }
    assert requests.post(f"{url}:uppercase", json={"instances": [{"x": ["a", "b"]}]}, timeout=30).json() == {
        "instances": [{"y": ["A", "B"], "data": {"b64": "YSti"}}]
    }


@pytest.mark.parametrize("method", ["copied", "copied_by_a_class"])
def test_an_array_without_texts(server: ServerProcess, foreign: ForeignClient, method: str) -> None:
    """JSON does not show of what it would be."""
    url = f"http://{server.rest}/model/texts:{method}"
    given: list[list[str]] = [["a", "b"], []]
    answer = requests.post(url, json={"instances": [{"x": texts} for texts in given]}, timeout=30).json()
    assert answer == {"instances": [{"y": texts} for texts in given]}
    refused = requests.post(url, json={"instances": [{"x": [[], ["a"]]}]}, timeout=30)
    assert refused.status_code == 400
    (one,) = foreign.call("texts", method, {"x": np.array([], "U1")})
    assert same(one["y"], np.array([], "U1"))
