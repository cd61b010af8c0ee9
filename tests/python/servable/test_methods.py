"""register_method and add_stage: the graph that they record, and what they refuse."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from servoir.servable.declarations import Declarations, LoadedModel, SubgraphPorts
from servoir.servable.spec import PortSpec
from servoir.server import register


def one(x: Any) -> Any:
    return x


def two(x: Any, y: Any) -> Any:
    return x, y


def batched(instances: Any) -> Any:
    return instances


def other_batched(instances: Any) -> Any:
    return instances


def define(function: Callable[..., Any], output_names: Any = "y") -> None:
    register.register_method(output_names)(function)


def port(name: str, shape: list[int] | None = None) -> PortSpec:
    return {"name": name, "dtype": "float32", "shape": shape, "batched": True}


def loaded(inputs: int, outputs: int, max_batch: int = 8, subgraphs: int = 1) -> LoadedModel:
    ports = SubgraphPorts([port(f"i{n}") for n in range(inputs)], [port(f"o{n}") for n in range(outputs)])
    return LoadedModel([ports] * subgraphs, max_batch)


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


def lambda_named(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    function.__name__ = name
    return function


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


def applied(stage: Any, **keywords: Any) -> Callable[..., Any]:
    def method(x: Any) -> Any:
        return register.add_stage(stage, x, **keywords)

    return method


def test_a_stage_picks_outputs_by_name(declared: Declarations) -> None:
    model = register.declare_model("net")

    def method(x: Any) -> Any:
        last = register.add_stage(model, x, outputs="o2")
        third, first = register.add_stage(model, last, outputs=["o2", "o0"])
        every = register.add_stage(model, first, outputs_count=3)
        return third, first, every[1]

    define(method, ["a", "b", "c"])
    (written,) = declared.spec("s", 1, {"net": loaded(1, 3)})["methods"]
    assert [(stage["inputs"], stage["first_output"], stage["outputs"]) for stage in written["stages"]] == [
        ([0], 1, 3),
        ([3], 4, 3),
        ([4], 7, 3),
    ]
    assert written["outputs"] == [6, 4, 8]
    assert written["values"] == 10


def test_outputs_that_a_model_has_not(declared: Declarations) -> None:
    model = register.declare_model("net")
    define(applied(model, outputs=["o1", "label"]), ["a", "b"])
    with pytest.raises(RuntimeError, match="Method 'method', stage 1: model 'net' has no output 'label'; it has 'o0'"):
        declared.spec("s", 1, {"net": loaded(1, 2)})


@pytest.mark.parametrize(
    ("keywords", "text"),
    [
        ({"outputs_count": 2}, "has 1 outputs (outputs_count), but the stage has 2; its output 'p' has the type"),
        ({"outputs": ["o0", "p"]}, "stage 1: model 'net': its output 'p' has the type"),
        ({"outputs_count": 1}, None),
        ({"outputs": "o0"}, None),
    ],
)
def test_outputs_that_cannot_be_served(keywords: dict[str, Any], text: str | None, declared: Declarations) -> None:
    """The others are."""
    model = register.declare_model("net")
    define(applied(model, **keywords), [f"y{k}" for k in range(2 if text else 1)])
    ports = SubgraphPorts([port("i0")], [port("o0")], {"p": "has the type seq(map()), which cannot be served"})
    if text is None:
        declared.check_against({"net": LoadedModel([ports], 8)})
        return
    with pytest.raises(RuntimeError, match=re.escape(text)):
        declared.check_against({"net": LoadedModel([ports], 8)})


@pytest.mark.parametrize(
    ("keywords", "error", "text"),
    [
        ({"outputs": []}, RuntimeError, "'outputs' should not be empty"),
        ({"outputs": ["a", "a"]}, RuntimeError, "'outputs'"),
        ({"outputs": 0}, RuntimeError, "'outputs' should be a str"),
        (
            {"outputs": ["a"], "outputs_count": 2},
            RuntimeError,
            "'outputs_count' of add_stage is 2, but 'outputs' names 1",
        ),
        ({}, TypeError, "missing 1 required keyword-only argument: 'outputs_count'"),
    ],
)
def test_outputs_that_are_picked_wrongly(keywords: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        define(applied(register.declare_model("net"), **keywords))


def test_outputs_of_functions_have_no_names() -> None:
    with pytest.raises(RuntimeError, match="'outputs' of add_stage is for models"):
        define(applied(one, outputs="y"))


def stage_of(*args: Any, **keywords: Any) -> Callable[..., Any]:
    def method(x: Any) -> Any:
        return register.add_stage(*args, **keywords)

    return method


def test_add_stage_belongs_into_a_method() -> None:
    with pytest.raises(RuntimeError, match="register_method"):
        register.add_stage(one, outputs_count=1)


@pytest.mark.parametrize(
    ("keywords", "parameter"),
    [
        ({"outputs_count": 0}, "outputs_count"),
        ({"outputs_count": "1"}, "outputs_count"),
        ({"outputs_count": True}, "outputs_count"),
        ({"batch_size": -1}, "batch_size"),
        ({"batch_size": 1.0}, "batch_size"),
        ({"batch_size": True}, "batch_size"),
        ({"tag": ""}, "tag"),
        ({"tag": 5}, "tag"),
        ({"max_queue_delay": -0.1}, "max_queue_delay"),
        ({"rerun": 1}, "rerun"),
        ({"stage": "cpp_function"}, "stage"),
        ({"stage": None}, "stage"),
        ({"stage": int}, "stage"),
        ({"stage": np.add}, "stage"),
    ],
)
def test_bad_arguments_of_add_stage(keywords: dict[str, Any], parameter: str, declared: Declarations) -> None:
    stage = keywords.pop("stage", one)

    def method(x: Any) -> Any:
        return register.add_stage(stage, x, **({"outputs_count": 1} | keywords))

    with pytest.raises(RuntimeError, match=f"'{parameter}'"):
        define(method)
    assert not declared.methods
    assert not declared.functions


@pytest.mark.parametrize("value", [np.zeros(3), 1, "x", None], ids=lambda value: type(value).__name__)
def test_inputs_of_a_stage_are_values_of_the_method(value: Any) -> None:
    with pytest.raises(RuntimeError, match=r"'args'.*argument 1"):
        define(stage_of(one, value, outputs_count=1))


def test_a_stage_needs_inputs() -> None:
    with pytest.raises(RuntimeError, match="'args'"):
        define(stage_of(lambda_named("nothing", lambda: 1), outputs_count=1))


def test_values_of_another_method_are_refused() -> None:
    kept: list[Any] = []

    def first(x: Any) -> Any:
        kept.append(x)
        return x

    define(first)
    with pytest.raises(RuntimeError, match="belongs to another method"):
        define(stage_of(one, kept[0], outputs_count=1))


def test_the_number_of_outputs_shows_as_pythons_own_error() -> None:
    def too_few(x: Any) -> Any:
        a, _b = register.add_stage(one, x, outputs_count=3)
        return a

    def none(x: Any) -> Any:
        a, _b = register.add_stage(one, x, outputs_count=1)
        return a

    with pytest.raises(ValueError, match=r"too many values to unpack \(expected 2"):
        define(too_few)
    with pytest.raises(TypeError, match="cannot unpack non-iterable"):
        define(none)


def test_the_parameters_of_a_function_are_the_inputs_of_its_stage() -> None:
    with pytest.raises(RuntimeError, match=r"'two' has 2 parameters, .* 1 inputs"):
        define(lambda_named("m", lambda x: register.add_stage(two, x, outputs_count=1)))
    with pytest.raises(RuntimeError, match=r"'two' has 2 parameters, .* batch_size=4"):
        define(lambda_named("m", lambda x: register.add_stage(two, x, outputs_count=1, batch_size=4)))


@pytest.mark.parametrize(
    ("first", "second", "what"),
    [
        ({"outputs_count": 1}, {"outputs_count": 2}, "outputs"),
        ({"outputs_count": 1}, {"outputs_count": 1, "batch_size": 4}, "batch size"),
        ({"outputs_count": 1, "batch_size": 0}, {"outputs_count": 1}, "batch size"),
    ],
)
def test_the_stages_of_a_function_agree(first: dict[str, Any], second: dict[str, Any], what: str) -> None:
    define(lambda_named("m1", lambda x: register.add_stage(one, x, **first)))

    def method(x: Any) -> Any:
        return register.add_stage(one, x, **second)

    with pytest.raises(RuntimeError, match=f"'one' .* agree about {what}"):
        define(method)


def test_the_inputs_of_a_function_agree() -> None:
    def method(x: Any) -> Any:
        y = register.add_stage(batched, x, outputs_count=1, batch_size=4)
        return register.add_stage(batched, x, y, outputs_count=1, batch_size=4)

    with pytest.raises(RuntimeError, match=r"'batched' .* agree about inputs"):
        define(method)


def test_functions_are_known_by_their_names() -> None:
    define(lambda_named("m1", lambda x: register.add_stage(one, x, outputs_count=1)))
    another = lambda_named("one", lambda x, y: x)
    with pytest.raises(RuntimeError, match=r"'one' .* agree about inputs: first 1, now 2"):
        define(lambda_named("m2", lambda x: register.add_stage(another, x, x, outputs_count=1)))


def test_the_stages_of_a_model_agree_with_each_other_and_with_the_model(declared: Declarations) -> None:
    model = register.declare_model("net")

    def method(x: Any) -> Any:
        y = register.add_stage(model, x, outputs_count=1)
        return register.add_stage(model, x, y, outputs_count=1)

    with pytest.raises(RuntimeError, match=r"Model 'net' .* agree about inputs"):
        define(method)
    define(lambda_named("good", lambda x: register.add_stage(model, x, outputs_count=1)))
    declared.check_against({"net": loaded(1, 1)})
    with pytest.raises(RuntimeError, match=r"'good', stage 1: model 'net' has 2 inputs, but the stage has 1"):
        declared.check_against({"net": loaded(2, 1)})
    with pytest.raises(RuntimeError, match=r"model 'net' has 3 outputs"):
        declared.check_against({"net": loaded(1, 3)})


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
