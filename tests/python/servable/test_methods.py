"""register_method: the graph that it records, and what it refuses."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from servoir.servable.declarations import Declarations
from servoir.server import register
from support.declared_methods import batched, define, lambda_named, loaded, one, other_batched, port, two


def test_a_composite_method(declared: Declarations) -> None:
    model = register.declare_model("net.onnx", max_queue_delay=0.0015)

    @register.register_method(output_names=["label", "score"])
    def classify(image: Any, threshold: Any, unused: Any) -> Any:
        pixels, size = register.add_stage(two, image, image, outputs_count=2, tag="Preprocess")
        scores = register.add_stage(model, pixels, outputs_count=1)
        label = register.add_stage(
            batched, scores, threshold, outputs_count=1, batch_size=5, max_queue_delay=0.002, rerun=False
        )
        again = register.add_stage(model, size, outputs_count=1)
        return label, again

    spec = declared.spec("resnet", 3, {"net.onnx": loaded(1, 1, 8)})
    assert (spec["name"], spec["version"]) == ("resnet", 3)
    keys = ("kind", "name", "subgraph", "inputs", "outputs", "max_batch", "max_queue_delay_us", "rerun")
    assert [tuple(dict(callee)[key] for key in keys) for callee in spec["callees"]] == [
        ("model", "net.onnx", 0, 1, 1, 8, 1500, True),
        ("function", "two", 0, 2, 2, 256, 0, True),
        ("function", "batched", 0, 2, 1, 5, 2000, False),
    ]
    assert spec["callees"][0]["input_ports"] == [port("i0")]
    assert spec["callees"][0]["output_ports"] == [port("o0")]
    (method,) = spec["methods"]
    assert method == {
        "name": "classify",
        "inputs": ["image", "threshold", "unused"],
        "input_dtypes": [None, None, None],
        "output_names": ["label", "score"],
        "outputs": [6, 7],
        "values": 8,
        "stages": [
            {"callee": 1, "inputs": [0, 0], "first_output": 3, "outputs": 2, "tag": "Preprocess"},
            {"callee": 0, "inputs": [3], "first_output": 5, "outputs": 1, "tag": ""},
            {"callee": 2, "inputs": [5, 1], "first_output": 6, "outputs": 1, "tag": ""},
            {"callee": 0, "inputs": [4], "first_output": 7, "outputs": 1, "tag": ""},
        ],
    }


def test_declared_dtypes_of_inputs(declared: Declarations) -> None:
    @register.register_method("y", input_dtypes={"b": np.int64, "c": "float16"})
    def method(a: Any, b: Any, c: Any) -> Any:
        return a

    assert declared.spec("s", 1, {})["methods"][0]["input_dtypes"] == [None, "int64", "float16"]


@pytest.mark.parametrize(
    ("dtypes", "text"),
    [
        (["float32"], "Parameter 'input_dtypes' should be None, or a dict"),
        ({"x": "complex64"}, "Parameter 'input_dtypes': input 'x' has the dtype 'complex64', which cannot be served"),
        ({"x": "str"}, "input 'x' has the dtype 'str'"),
        ({"x": None}, "a dtype is None; leave the input out"),
        ({"y": "int8"}, "has 'y', but the inputs of method 'method' are 'x'"),
    ],
)
def test_bad_declared_dtypes(declared: Declarations, dtypes: Any, text: str) -> None:
    def method(x: Any) -> Any:
        return x

    with pytest.raises(RuntimeError, match=re.escape(text)):
        register.register_method("y", input_dtypes=dtypes)(method)
    assert not declared.methods


def test_a_declared_dtype_is_that_of_the_model(declared: Declarations) -> None:
    model = register.declare_model("net.onnx")

    @register.register_method("y", input_dtypes={"x": "int64"})
    def method(x: Any) -> Any:
        return register.add_stage(model, x, outputs_count=1)

    text = "input 'x' of method 'method' is declared as int64, but goes to input 'i0' of a model, which is float32"
    with pytest.raises(RuntimeError, match=text):
        declared.check_against({"net.onnx": loaded(1, 1)})


def test_a_method_without_stages_returns_its_inputs(declared: Declarations) -> None:
    define(lambda_named("echo", lambda a, b: (b, a)), ["x", "y"])
    (method,) = declared.spec("s", 1, {})["methods"]
    assert (method["inputs"], method["outputs"], method["stages"], method["values"]) == (["a", "b"], [1, 0], [], 2)


def test_a_function_in_several_stages_is_one_callee(declared: Declarations) -> None:
    def first(x: Any) -> Any:
        return register.add_stage(one, register.add_stage(one, x, outputs_count=1), outputs_count=1)

    def second(x: Any) -> Any:
        return register.add_stage(one, x, outputs_count=1)

    define(first)
    define(second)
    spec = declared.spec("s", 1, {})
    assert [callee["name"] for callee in spec["callees"]] == ["one"]
    assert [stage["callee"] for method in spec["methods"] for stage in method["stages"]] == [0, 0, 0]


def test_different_batch_sizes_are_kept_apart(declared: Declarations) -> None:
    def method(x: Any) -> Any:
        y = register.add_stage(batched, x, outputs_count=1, batch_size=2)
        return register.add_stage(batched, y, outputs_count=1, batch_size=9)

    define(method)
    assert [callee["max_batch"] for callee in declared.spec("s", 1, {})["callees"]] == [2, 9]


def test_subgraphs_are_callees_of_their_own(declared: Declarations) -> None:
    model = register.declare_model(["a", "b"])
    define(lambda_named("method", lambda x: register.add_stage(one, x, outputs_count=1)))
    spec = declared.spec("s", 1, {"a;b": loaded(1, 1, subgraphs=2)})
    assert [(c["kind"], c["name"], c["subgraph"]) for c in spec["callees"]] == [
        ("model", "a;b", 0),
        ("model", "a;b", 1),
        ("function", "one", 0),
    ]
    assert [declared.model_callee(model, k) for k in (0, 1)] == [0, 1]


def test_batch_size_zero_is_that_of_the_models(declared: Declarations) -> None:
    small = register.declare_model("small")
    large = register.declare_model("large")

    def with_models(x: Any) -> Any:
        before = register.add_stage(batched, x, outputs_count=1, batch_size=0)
        middle = register.add_stage(small, before, outputs_count=1)
        end = register.add_stage(large, middle, outputs_count=1)
        return register.add_stage(other_batched, end, outputs_count=1, batch_size=0)

    def without_models(x: Any) -> Any:
        return register.add_stage(batched, x, outputs_count=1, batch_size=0)

    define(with_models)
    define(without_models)
    spec = declared.spec("s", 1, {"small": loaded(1, 1, 3), "large": loaded(1, 1, 7)})
    functions = [(c["name"], c["max_batch"]) for c in spec["callees"] if c["kind"] == "function"]
    assert functions == [("batched", 3), ("other_batched", 7), ("batched", 1)]


@pytest.mark.parametrize("names", ["", [], None, 1, ["a", ""], ["a", "a"], ["a", 1]], ids=repr)
def test_bad_output_names(names: Any) -> None:
    with pytest.raises(RuntimeError, match="'output_names"):
        register.register_method(names)


def variadic(*args: Any) -> Any:
    return args


def keywords(**kwargs: Any) -> Any:
    return kwargs


def keyword_only(*, x: Any) -> Any:
    return x


@pytest.mark.parametrize("function", [variadic, keywords, keyword_only])
def test_other_parameters_than_positional_ones_are_refused(function: Any) -> None:
    with pytest.raises(RuntimeError, match=f"'{function.__name__}'"):
        define(function)


@pytest.mark.parametrize("returned", [None, 1, [1], (), np.zeros(2), ("x", 1)], ids=repr)
def test_a_method_returns_values_of_its_own(returned: Any) -> None:
    with pytest.raises(RuntimeError, match="'method'"):
        define(lambda_named("method", lambda x: returned))


def test_the_number_of_returned_values() -> None:
    with pytest.raises(RuntimeError, match="returns 2 values, but parameter 'output_names' of register_method has 1"):
        define(lambda_named("method", lambda x: (x, x)))


@pytest.mark.parametrize(
    "misuse",
    [
        lambda x: x + 1,
        lambda x: 2 * x,
        lambda x: -x,
        lambda x: x[0],
        lambda x: x(1),
        lambda x: np.add(x, 1),
        lambda x: x or 1,
        lambda x: 1 if x > 0 else 2,
    ],
    ids=["add", "multiply", "negate", "index", "call", "numpy", "truth", "compare"],
)
def test_computing_with_what_stands_for_a_value_says_what_to_do(misuse: Any) -> None:
    with pytest.raises(TypeError, match=r"<input 'x' of method 'method'> only stands for a value.*add_stage"):
        define(lambda_named("method", misuse))


def test_an_attribute_of_what_stands_for_a_value_says_what_to_do() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'astype': <input 'x' .*only stands for a value.*add_stage"):
        define(lambda_named("method", lambda x: x.astype(np.float32)))


def test_unpacking_one_output_says_what_outputs_count_is() -> None:
    def method(x: Any) -> Any:
        left, right = register.add_stage(lambda_named("f", lambda x: x), x, outputs_count=1)
        return left, right

    with pytest.raises(TypeError, match=r"<value 1 of method 'method'>: it is one value.*'outputs_count'"):
        define(method)


def test_a_method_is_registered_once(declared: Declarations) -> None:
    define(lambda_named("method", lambda x: x))
    with pytest.raises(RuntimeError, match="'method' is registered more than once"):
        define(lambda_named("method", lambda x: x))
    assert list(declared.methods) == ["method"]


def test_a_servable_needs_a_method(declared: Declarations) -> None:
    register.declare_model("net")
    with pytest.raises(RuntimeError, match="servable 'net' has no method"):
        declared.check_complete("net")


def test_an_error_in_a_method_leaves_nothing_behind(declared: Declarations) -> None:
    def method(x: Any) -> Any:
        register.add_stage(one, x, outputs_count=1)
        raise KeyError("mine")

    with pytest.raises(KeyError):
        define(method)
    assert (declared.functions, declared.methods, declared.recording) == ([], {}, None)
